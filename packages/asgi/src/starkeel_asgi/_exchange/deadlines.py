"""Queues of deadlines."""

import asyncio
from time import monotonic
from typing import Final, Protocol

_EARLY_S: Final = 0.002
"""Seconds that a timer may fire early: event loops count in milliseconds."""


class Expiring(Protocol):
    """An exchange with a deadline."""

    def expire(self) -> None:
        """Cancel the application: the deadline passed."""


class DeadlineQueue:
    """Deadlines of one length, in the order in which they end.

    `asyncio.timeout` starts a timer for each request, although almost none of them fires. Deadlines of equal
    length share one queue instead, and only its head has a timer.

    Args:
        seconds: Length, from the moment of `add`.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._call_later = asyncio.get_running_loop().call_later
        self._times: dict[Expiring, float] = {}
        self._is_timed = False

    def add(self, exchange: Expiring) -> float:
        """Start a deadline, when the exchange expires; return its end in `time.monotonic()` seconds."""
        self._times[exchange] = at = monotonic() + self._seconds
        if not self._is_timed:
            self._is_timed = True
            self._call_later(self._seconds, self._fire)
        return at

    def remove(self, exchange: Expiring) -> None:
        """Remove a deadline; no effect if it has expired."""
        self._times.pop(exchange, None)

    def _fire(self) -> None:
        now = monotonic() + _EARLY_S
        while self._times:
            exchange, at = next(iter(self._times.items()))
            if at > now:
                self._call_later(at - now, self._fire)
                return
            del self._times[exchange]
            exchange.expire()
        self._is_timed = False


class DeadlineQueues(dict[float, DeadlineQueue]):
    """The deadline queues of one event loop; `shared(seconds)` returns that of a length."""

    shared = dict.__getitem__

    def __missing__(self, seconds: float) -> DeadlineQueue:
        queue = self[seconds] = DeadlineQueue(seconds)
        return queue
