"""Retry budget: retries must not multiply the load of an upstream that fails."""

from typing import Final, final

_TOKEN: Final = 1000
"""Whole thousandths, whose sum is exact."""
_MAX_TOKENS: Final = 10 * _TOKEN


@final
class RetryBudget:
    """Token bucket of additional requests, which only successful requests fill (as in gRFC A6).

    During an outage nothing is added: the upstream receives one request per call, and the tokens that were
    left. Full at start, so that a service with few calls can retry.

    Args:
        ratio: Tokens that a successful request adds; an additional request takes one.
    """

    def __init__(self, ratio: float) -> None:
        self._added = round(ratio * _TOKEN)
        self._tokens = _MAX_TOKENS

    def add_success(self) -> None:
        """Add the share of a successful request."""
        self._tokens = min(self._tokens + self._added, _MAX_TOKENS)

    def take(self) -> bool:
        """Take a token for an additional request; return whether there was one."""
        if self._tokens < _TOKEN:
            return False
        self._tokens -= _TOKEN
        return True
