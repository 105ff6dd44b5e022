"""How many repetitions an upstream is asked to bear."""

from typing import final

_SHARE = 0.2
_RESERVE = 10.0


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
