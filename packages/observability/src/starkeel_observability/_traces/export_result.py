"""Result of an export request, and retry delays."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

from msgspec import Struct

MAX_DELAY_S: Final = 60.0
"""Upper bound for delays, in seconds; a longer `Retry-After` is cut."""


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


def backoff_s(attempt: int) -> float:
    """Return the delay before the next attempt: 1, 2, 4, ... seconds, with jitter."""
    return min(MAX_DELAY_S, 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret


def retry_after_s(
    header: str | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> float | None:
    """Return the delay that a `Retry-After` header requests (seconds or a date); `None` if it is invalid."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), MAX_DELAY_S)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return min(max(0.0, (until - now()).total_seconds()), MAX_DELAY_S)


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
