"""Notification of readers when something has arrived."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

_PAUSE_S: Final = 1.0
_IDLE_S: Final = 15.0


class Changes:
    """Wakes readers at most once a second, however much arrives."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()
        self._is_closed = False

    def notify(self) -> None:
        """Wake all readers."""
        for event in self._waiting:
            event.set()

    def close(self) -> None:
        """End all readers."""
        self._is_closed = True
        self.notify()

    @property
    def readers(self) -> int:
        """Return the number of readers."""
        return len(self._waiting)

    async def follow(self) -> AsyncIterator[bool]:
        """Yield after each change, and `False` every 15 seconds without one, until `close`."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            while not self._is_closed:
                changed = False
                with suppress(TimeoutError):
                    changed = await asyncio.wait_for(event.wait(), _IDLE_S)
                event.clear()
                yield changed
                await asyncio.sleep(_PAUSE_S)
        finally:
            self._waiting.discard(event)
