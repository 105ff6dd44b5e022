"""Events for one stream, in a queue with a limit."""

import asyncio
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class SlowConsumerError(Exception):
    """A stream's client reads too slowly: its queue of events is full."""


class EventQueue(Generic[T]):
    """Queue of the events that one stream has not sent yet.

    `put` never waits, so that one slow client delays no other. When the queue is full, its events are dropped
    and the stream ends as that of a slow consumer; the client resumes after the last event it has received.

    Args:
        max_events: Maximum number of events.
    """

    def __init__(self, max_events: int = 100) -> None:
        self._queue: asyncio.Queue[T | None] = asyncio.Queue()
        self._max_events = max_events
        self._is_full = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def put(self, event: T) -> bool:
        """Add an event; return whether there was room. No event follows one that was dropped."""
        if self._is_full:
            return False
        if self._queue.qsize() >= self._max_events:
            self._is_full = True
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(None)
            return False
        self._queue.put_nowait(event)
        return True

    async def next(self) -> T:
        """Wait for the next event; cancelling the wait loses none.

        Raises:
            SlowConsumerError: The queue was full.
        """
        event = await self._queue.get()
        if event is None:
            self._queue.put_nowait(None)
            raise SlowConsumerError
        return event
