"""What comes in from a client, and whether the client is still there."""

import asyncio
from collections import deque
from typing import Any, Final

from litestar.types import Receive

_LISTEN_AFTER_S: Final = 0.05
"""Seconds after which it is worth listening for a client that goes: before, it hardly can."""


class Incoming:
    """An application's way to receive, which listens for the client while the application does not.

    Nothing in ASGI tells an application that its client has gone unless it asks; hardly any does.

    Args:
        receive: The server's.
    """

    __slots__ = (
        "_ahead",
        "_is_application_receiving",
        "_is_body_over",
        "_is_closed",
        "_reading",
        "_receive",
        "is_gone",
    )

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ahead: deque[Any] = deque()
        self._reading: asyncio.Future[Any] | None = None
        self._is_application_receiving = False
        self._is_body_over = False
        self.is_gone = False
        self._is_closed = False

    def listen_soon(self) -> None:
        """Listen after a while, when the request is not over by then."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # A test client on another kind of loop.
            return
        _watch(loop).add(self)

    def close(self) -> None:
        """Listen no more."""
        self._is_closed = True
        if self._reading is not None:
            self._reading.cancel()

    async def __call__(self) -> Any:
        """As the server's own."""
        while True:
            if self._ahead:
                return self._ahead.popleft()
            if self._reading is None:
                return await self._directly()
            # Not awaited itself: were the application's call cancelled, what comes in would be lost.
            await asyncio.wait([self._reading])

    async def _directly(self) -> Any:
        self._is_application_receiving = True
        try:
            message = await self._receive()
        finally:
            self._is_application_receiving = False
        self._note(message)
        return message

    def listen(self) -> None:
        """Listen now, unless it is over; later, while the application does so itself."""
        if self._is_closed:
            return
        if self._is_application_receiving:
            self.listen_soon()
        elif not self.is_gone:
            self._read()

    def _read(self) -> None:
        self._reading = asyncio.ensure_future(self._receive())
        self._reading.add_done_callback(self._came)

    def _came(self, reading: "asyncio.Future[Any]") -> None:
        self._reading = None
        if reading.cancelled() or reading.exception() is not None:
            return
        message = reading.result()
        self._note(message)
        is_body = message["type"] == "http.request"
        self._ahead.append(message)
        if is_body and self._is_body_over:
            # All that may come now is that the client goes; the application may find the body before.
            self._read()

    def _note(self, message: Any) -> None:
        if message["type"] == "http.disconnect":
            self.is_gone = True
        elif message["type"] == "http.request" and not message.get("more_body", False):
            self._is_body_over = True


class _Watch:
    """One timer for all the requests of a loop: hardly any lasts until it is due.

    Args:
        loop: Theirs.
    """

    __slots__ = ("_is_set", "_waiting", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: deque[tuple[float, Incoming]] = deque()
        self._is_set = False

    def add(self, incoming: Incoming) -> None:
        """Have it listen after a while."""
        due = self.loop.time() + _LISTEN_AFTER_S
        self._waiting.append((due, incoming))
        if not self._is_set:
            self._is_set = True
            self.loop.call_at(due, self._look)

    def _look(self) -> None:
        waiting, now = self._waiting, self.loop.time()
        try:
            while waiting and waiting[0][0] <= now:
                waiting.popleft()[1].listen()
        finally:
            self._is_set = bool(waiting)
            if waiting:
                self.loop.call_at(waiting[0][0], self._look)


_watches: list[_Watch] = []


def _watch(loop: asyncio.AbstractEventLoop) -> _Watch:
    # A process serves in one loop; a test may have one after the other.
    if not _watches or _watches[0].loop is not loop:
        _watches[:] = [_Watch(loop)]
    return _watches[0]
