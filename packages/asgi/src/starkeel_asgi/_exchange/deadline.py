"""Deadlines that cancel a task.

`asyncio.timeout` starts a timer for each request, although almost none of them fires. Deadlines of equal
length share one queue instead, and only its head has a timer.
"""

import asyncio
from typing import Final, Protocol

_EARLY_S: Final = 0.002
"""Seconds that a timer may fire early: event loops count in milliseconds."""


class Expiring(Protocol):
    """Something with a deadline."""

    def expire(self) -> None:
        """Handle the deadline; called once, from the event loop."""


class DeadlineQueue:
    """Deadlines of one length, in the order in which they end.

    Args:
        seconds: Length, from the moment of `add`.
    """

    __slots__ = ("_loop", "_seconds", "_timed", "_times")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._times: dict[Expiring, float] = {}
        self._timed = False

    def add(self, expiring: Expiring) -> None:
        """Start a deadline."""
        self._times[expiring] = at = self._loop.time() + self._seconds
        if not self._timed:
            self._timed = True
            self._loop.call_at(at, self._fire)

    def remove(self, expiring: Expiring) -> None:
        """Remove a deadline; no effect if it has expired."""
        self._times.pop(expiring, None)

    def _fire(self) -> None:
        now = self._loop.time() + _EARLY_S
        while self._times:
            expiring, at = next(iter(self._times.items()))
            if at > now:
                self._loop.call_at(at, self._fire)
                return
            del self._times[expiring]
            expiring.expire()
        self._timed = False


class DeadlineQueues:
    """The deadline queues of one event loop, by length."""

    def __init__(self) -> None:
        self._queues: dict[float, DeadlineQueue] = {}

    def shared(self, seconds: float) -> DeadlineQueue:
        """Return the queue of a length that many requests have, such as a route's timeout."""
        queue = self._queues.get(seconds)
        if queue is None:
            queue = self._queues[seconds] = DeadlineQueue(seconds)
        return queue
