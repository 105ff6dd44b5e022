"""Pauses between retries."""

import random
from datetime import UTC, datetime

import msgspec


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential backoff with jitter.

    The pause before retry number n, counted from 0, is a random part of `min(cap_s, base_s * 2**n)`.

    Args:
        base_s: Seconds before the first retry.
        cap_s: Maximum seconds before a retry.
        jitter: Random share of a pause, from 0 (none) to 1 (full jitter: any pause up to the limit). With 0.5
            a pause is at least half of the limit.
    """

    base_s: float
    cap_s: float
    jitter: float = 1.0

    def pause_s(self, retry: int, *, at_least_s: float = 0.0) -> float:
        """Return the seconds to wait before a retry.

        Args:
            retry: Number of previous retries.
            at_least_s: Minimum, such as the value of `Retry-After`; may exceed `cap_s`.
        """
        # The exponent is bounded because 2.0**1024 overflows.
        limit_s = min(self.cap_s, self.base_s * 2.0 ** min(retry, 64))
        return max(limit_s * (1 - self.jitter * random.random()), at_least_s)  # noqa: S311  (not a secret)

    def pause_within_s(self, retry: int, *, left_s: float, at_least_s: float = 0.0) -> float | None:
        """Return `pause_s`, or None when fewer than those seconds are left until the deadline."""
        pause_s = self.pause_s(retry, at_least_s=at_least_s)
        return pause_s if pause_s < left_s else None


def parse_retry_after(header: str | None, *, max_s: float) -> float | None:
    """Return the seconds of a `Retry-After` header (RFC 9110, 10.2.3), or None when absent or invalid.

    Args:
        header: Value of the header: seconds or a date.
        max_s: Upper limit of the result.
    """
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), max_s)
    # Imported here: it is needed for dates only.
    from email.utils import parsedate_to_datetime

    try:
        until = parsedate_to_datetime(text)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        seconds = (until - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), max_s)
