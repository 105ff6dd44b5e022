"""Result of an export request."""

from typing import Final, Protocol

from msgspec import Struct
from starkeel_config import Backoff

BACKOFF: Final = Backoff(base_s=1.0, cap_s=60.0, jitter=0.5)
"""Pauses between attempts; a longer `Retry-After` is cut to `cap_s`."""


class ExportResult(Struct, frozen=True):
    """Result of one attempt.

    Attributes:
        error: Description of the error; `None` after success.
        is_retryable: Whether a later attempt may succeed.
        retry_after_s: Delay in seconds that the collector requested.
        rejected: Number of sent spans that the collector rejected.
    """

    error: str | None = None
    is_retryable: bool = False
    retry_after_s: float | None = None
    rejected: int = 0


class Sender(Protocol):
    """Sends an encoded `ExportTraceServiceRequest`; never raises."""

    def __call__(self, body: bytes, *, timeout_s: float) -> ExportResult: ...


def rejected_spans(response: bytes) -> int:
    """Return the number of rejected spans; 0 if the response is something else.

    Args:
        response: An `ExportTraceServiceResponse`; `partial_success` is its field 1, and `rejected_spans` is
            field 1 of that.
    """
    try:
        if response[0] != 0x0A or response[1] > 127:
            return 0
        inner = response[2 : 2 + response[1]]
        if inner[0] != 0x08:
            return 0
        number = 0
        for place, byte in enumerate(inner[1:11]):
            number |= (byte & 127) << 7 * place
            if byte < 128:
                break
    except IndexError:
        return 0
    return number if number < 1 << 31 else 0
