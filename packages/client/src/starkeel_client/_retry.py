"""Retry decisions: eligible outcomes, pauses, and the retry budget."""

from typing import Final, TypeGuard, final

import httpx2
from starkeel_config import Backoff, parse_retry_after

from ._call import Failure

UNAVAILABLE: Final = frozenset({502, 503, 504})
"""Statuses for which the service did not process the call completely."""

BACKOFF: Final = Backoff(base_s=0.05, cap_s=1.0)
_MAX_RETRY_AFTER_S = 86_400.0
_TOKENS_PER_CALL = 0.2
_MAX_TOKENS = 10.0


def is_response(outcome: httpx2.Response | Failure) -> TypeGuard[httpx2.Response]:
    """Return whether the outcome is a response of the service itself."""
    return not isinstance(outcome, Failure) and outcome.status_code not in UNAVAILABLE


def is_transient(outcome: httpx2.Response | Failure) -> bool:
    """Return whether another attempt may succeed."""
    return outcome.is_transient if isinstance(outcome, Failure) else outcome.status_code in UNAVAILABLE


def retry_after_s(outcome: httpx2.Response | Failure) -> float | None:
    """Return the seconds of the `Retry-After` header, or None."""
    if isinstance(outcome, Failure):
        return None
    return parse_retry_after(outcome.headers.get("retry-after"), max_s=_MAX_RETRY_AFTER_S)


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
