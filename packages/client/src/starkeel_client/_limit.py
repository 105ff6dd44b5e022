"""Limit of concurrent requests to an upstream: a slow one must not occupy all requests of its caller."""

from typing import final

import anyio


@final
class ConcurrencyLimit:
    """Slots for requests in flight, with a bounded first-in first-out queue.

    Args:
        slots: Maximum number of requests at a time.
        max_waiting: Maximum number of requests that wait for a slot.
    """

    def __init__(self, slots: int, *, max_waiting: int) -> None:
        self._slots = anyio.Semaphore(slots)
        self._max_waiting = max_waiting
        self.waiting = 0
        """Number of requests that wait for a slot."""

    def acquire_nowait(self) -> bool:
        """Acquire a slot if one is free; return whether it was."""
        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            return False
        return True

    async def acquire(self, *, within_s: float) -> bool:
        """Acquire a slot; return False when the queue is full, or no slot became free within the seconds."""
        if self.acquire_nowait():
            return True
        if self.waiting >= self._max_waiting:
            return False
        self.waiting += 1
        try:
            with anyio.move_on_after(within_s):
                await self._slots.acquire()
                return True
        finally:
            self.waiting -= 1
        return False

    def release(self) -> None:
        """Return a slot, to the first request of the queue if there is one."""
        self._slots.release()
