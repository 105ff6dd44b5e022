"""Retry decisions: eligible outcomes, pauses, and the retry budget."""

import random
import time
from email.utils import parsedate_to_datetime
from typing import Final, TypeGuard, final

import httpx2

from ._call import Failure

UNAVAILABLE: Final = frozenset({502, 503, 504})
"""Statuses for which the service did not process the call completely."""

_MIN_PAUSE_S = 0.05
_MAX_PAUSE_S = 1.0
_MAX_RETRY_AFTER_S = 86_400.0
_TOKENS_PER_CALL = 0.2
_MAX_TOKENS = 10.0


def is_response(outcome: httpx2.Response | Failure) -> TypeGuard[httpx2.Response]:
    """Return whether the outcome is a response of the service itself."""
    return not isinstance(outcome, Failure) and outcome.status_code not in UNAVAILABLE


def is_transient(outcome: httpx2.Response | Failure) -> bool:
    """Return whether another attempt may succeed."""
    return outcome.is_transient if isinstance(outcome, Failure) else outcome.status_code in UNAVAILABLE


def pause_s(outcome: httpx2.Response | Failure, resends: int) -> float:
    """Return the seconds before the next attempt: exponential with full jitter, at least `Retry-After`."""
    limit = min(_MIN_PAUSE_S * 2.0**resends, _MAX_PAUSE_S)
    jitter = random.uniform(0, limit)  # noqa: S311  (no secret)
    return max(jitter, retry_after_s(outcome) or 0.0)


def retry_after_s(outcome: httpx2.Response | Failure) -> float | None:
    """Return the seconds of the `Retry-After` header, or None."""
    if isinstance(outcome, Failure):
        return None
    text = outcome.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _MAX_RETRY_AFTER_S)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)


@final
class RetryBudget:
    """Token bucket that limits retries to a fifth of the calls.

    Without it, retries would multiply the load of an upstream that fails under load. The bucket is full at
    start, so that a service with few calls can retry.
    """

    def __init__(self) -> None:
        self._tokens = _MAX_TOKENS

    def deposit(self) -> None:
        """Count a call."""
        self._tokens = min(self._tokens + _TOKENS_PER_CALL, _MAX_TOKENS)

    def withdraw(self) -> bool:
        """Take the tokens for one retry; return False when there are too few."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
