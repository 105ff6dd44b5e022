"""When a call is made again, and how long to wait before."""

import random
import time
from email.utils import parsedate_to_datetime
from typing import Final, TypeGuard, final

import httpx2

from ._call import Failure

AWAY: Final = frozenset({502, 503, 504})
"""Statuses that say that the service did not get to the call, or not through with it."""

_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 1.0
_LONGEST_RETRY_AFTER_S = 86_400.0
_SHARE = 0.2
_RESERVE = 10.0


def is_answer(outcome: httpx2.Response | Failure) -> TypeGuard[httpx2.Response]:
    """Whether an attempt brought an answer of the service itself."""
    return not isinstance(outcome, Failure) and outcome.status_code not in AWAY


def may_pass(outcome: httpx2.Response | Failure) -> bool:
    """Whether the next attempt may fare better."""
    return outcome.is_passing if isinstance(outcome, Failure) else outcome.status_code in AWAY


def wait_s(outcome: httpx2.Response | Failure, resends: int) -> float:
    """Seconds to wait before the next attempt: random up to a growing limit, so that callers spread out.

    What the upstream asks for by `Retry-After` is the least.
    """
    limit = min(_FIRST_WAIT_S * 2.0**resends, _LONGEST_WAIT_S)
    jitter = random.uniform(0, limit)  # noqa: S311  (no secret)
    return max(jitter, retry_after_s(outcome) or 0.0)


def retry_after_s(outcome: httpx2.Response | Failure) -> float | None:
    """Seconds that the upstream asks to be left alone; None when it does not say."""
    if isinstance(outcome, Failure):
        return None
    text = outcome.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_RETRY_AFTER_S)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_S)


@final
class RetryBudget:
    """A token bucket that calls fill and repetitions empty: repetitions stay below a fifth of the calls.

    Without it an upstream that fails under load gets that load three times over. The bucket begins full, so
    that a quiet service can repeat its first calls.
    """

    def __init__(self) -> None:
        self._tokens = _RESERVE

    def deposit(self) -> None:
        """Count a call."""
        self._tokens = min(self._tokens + _SHARE, _RESERVE)

    def withdraw(self) -> bool:
        """Take what one repetition costs; False when there is not as much."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
