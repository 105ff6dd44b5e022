"""Queues of deadlines."""

import asyncio
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
        self._loop = asyncio.get_running_loop()
        self._times: dict[Expiring, float] = {}
        self._is_timed = False

    def add(self, exchange: Expiring) -> None:
        """Start a deadline; the exchange expires when it passes."""
        self._times[exchange] = at = self._loop.time() + self._seconds
        if not self._is_timed:
            self._is_timed = True
            self._loop.call_at(at, self._fire)

    def remove(self, exchange: Expiring) -> None:
        """Remove a deadline; no effect if it has expired."""
        self._times.pop(exchange, None)

    def _fire(self) -> None:
        now = self._loop.time() + _EARLY_S
        while self._times:
            exchange, at = next(iter(self._times.items()))
            if at > now:
                self._loop.call_at(at, self._fire)
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
