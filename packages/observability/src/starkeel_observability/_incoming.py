"""What comes in from a client, and whether the client is still there."""

import asyncio
from collections import deque
from contextlib import suppress
from itertools import takewhile
from time import perf_counter
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

    is_gone = False
    _ahead: deque[Any] | None = None
    _is_application_receiving = False
    _is_body_over = False

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.reading: asyncio.Future[Any] | None = None
        """What listens, to be cancelled when it is over."""

    async def receive(self) -> Any:
        """As the server's own."""
        while True:
            if self._ahead:
                return self._ahead.popleft()
            if self.reading is None:
                return await self._directly()
            # Not awaited itself: were the application's call cancelled, what comes in would be lost.
            await asyncio.wait([self.reading])

    async def _directly(self) -> Any:
        self._is_application_receiving = True
        try:
            message = await self._receive()
        finally:
            self._is_application_receiving = False
        self._note(message)
        return message

    def listen(self) -> bool:
        """Listen now, but not while the application does so itself; whether it need not be asked again."""
        if self._is_application_receiving:
            return False
        if not self.is_gone:
            self._read()
        return True

    def _read(self) -> None:
        self.reading = asyncio.ensure_future(self._receive())
        self.reading.add_done_callback(self._came)

    def _came(self, reading: "asyncio.Future[Any]") -> None:
        self.reading = None
        if reading.cancelled() or reading.exception() is not None:
            return
        message = reading.result()
        self._note(message)
        is_body = message["type"] == "http.request"
        if self._ahead is None:
            self._ahead = deque()
        self._ahead.append(message)
        if is_body and self._is_body_over:
            # All that may come now is that the client goes; the application may find the body before.
            self._read()

    def _note(self, message: Any) -> None:
        if message["type"] == "http.disconnect":
            self.is_gone = True
        elif message["type"] == "http.request" and not message.get("more_body", False):
            self._is_body_over = True


class Watch:
    """One timer for all the requests of a loop: hardly any lasts until it is due."""

    def __init__(self) -> None:
        self.open: dict[Incoming, float] = {}
        """Since when, as `perf_counter` has it, in their order; whoever is over takes itself out."""
        self.is_set = False

    def start(self) -> None:
        """Look after a while."""
        # A test client may run a loop of another kind.
        with suppress(RuntimeError):
            asyncio.get_running_loop().call_later(_LISTEN_AFTER_S, self._look)
            self.is_set = True

    def _look(self) -> None:
        now = perf_counter()
        late = list(takewhile(lambda incoming: now - self.open[incoming] >= _LISTEN_AFTER_S, self.open))
        for incoming in late:
            del self.open[incoming]
            if not incoming.listen():
                self.open[incoming] = now
        self.is_set = False
        if self.open:
            self.start()
