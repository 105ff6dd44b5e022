"""What came of sending spans, and how to try again."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

LONGEST_PAUSE_S: Final = 60.0
"""Seconds that a collector may ask for; longer ones are cut short."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt.

    Attributes:
        error: What went wrong; none when it went well.
        is_worth_retrying: Whether it may go well later.
        after_s: Seconds that the collector asked to be left alone.
        rejected: Spans that it did not take of those it was sent.
    """

    error: str | None = None
    is_worth_retrying: bool = False
    after_s: float | None = None
    rejected: int = 0


class Sender(Protocol):
    """Sends a request to take spans; never raises."""

    def __call__(self, body: bytes, *, timeout_s: float) -> Outcome: ...


def backoff_s(attempt: int) -> float:
    """Seconds before the next attempt: one, two, four and so on, more or less."""
    return min(LONGEST_PAUSE_S, 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret


def retry_after_s(
    header: str | None, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> float | None:
    """Seconds that `Retry-After` asks for, given as seconds or as a date; none when it asks for nothing."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), LONGEST_PAUSE_S)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return min(max(0.0, (until - now()).total_seconds()), LONGEST_PAUSE_S)


def rejected_spans(answer: bytes) -> int:
    """How many spans a collector says it did not take; nothing when its answer is something else.

    Args:
        answer: An `ExportTraceServiceResponse`: `partial_success` is its field 1, and `rejected_spans` the
            field 1 of that.
    """
    try:
        if answer[0] != 0x0A or answer[1] > 127:
            return 0
        inner = answer[2 : 2 + answer[1]]
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
