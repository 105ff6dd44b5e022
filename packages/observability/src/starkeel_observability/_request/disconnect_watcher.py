"""What comes in from a client, and whether the client is still there."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import takewhile
from time import perf_counter_ns
from typing import Any, Final, Protocol

LISTEN_AFTER_NS: Final = 50_000_000
"""Nanoseconds after which it is worth listening for a client that goes: before, it hardly can."""


class Incoming:
    """An application's way to receive, which listens for the client while the application does not.

    Nothing in ASGI tells an application that its client has gone unless it asks; hardly any does.

    Args:
        receive: The server's.
    """

    def __init__(self, receive: Callable[[], Awaitable[Any]]) -> None:
        self._receive = receive
        self.is_gone = False
        """Whether the client has gone."""
        self._reading: asyncio.Future[Any] | None = None
        self._ahead: deque[Any] = deque()
        self._is_application_receiving = False
        self._is_body_over = False

    async def receive(self) -> Any:
        """As the server's own."""
        while True:
            if self._ahead:
                return self._ahead.popleft()
            if self._reading is None:
                return await self._directly()
            # Not awaited itself: were the application's call cancelled, what comes in would be lost.
            await asyncio.wait([self._reading])

    def listen(self) -> bool:
        """Listen now, but not while the application does so itself; whether it need not be asked again."""
        if self._is_application_receiving:
            return False
        if not self.is_gone:
            self._read()
        return True

    def stop(self) -> None:
        """Listen no more."""
        if self._reading is not None:
            self._reading.cancel()

    async def _directly(self) -> Any:
        self._is_application_receiving = True
        try:
            message = await self._receive()
        finally:
            self._is_application_receiving = False
        self._note(message)
        return message

    def _read(self) -> None:
        self._reading = asyncio.ensure_future(self._receive())
        self._reading.add_done_callback(self._came)

    def _came(self, reading: "asyncio.Future[Any]") -> None:
        self._reading = None
        if reading.cancelled() or reading.exception() is not None:
            return
        message = reading.result()
        self._note(message)
        self._ahead.append(message)
        if message["type"] == "http.request" and self._is_body_over:
            # All that may come now is that the client goes; the application may find the body before.
            self._read()

    def _note(self, message: Any) -> None:
        if message["type"] == "http.disconnect":
            self.is_gone = True
        elif message["type"] == "http.request" and not message.get("more_body", False):
            self._is_body_over = True


class Listener(Protocol):
    """Can listen for its client."""

    @property
    def incoming(self) -> Incoming: ...


class Watch:
    """Knows which requests are open, and listens for the clients of those that last."""

    def __init__(self) -> None:
        self.fresh: dict[Listener, int] = {}
        """Requests that have not lasted yet, in their order: when each began, as `perf_counter_ns` has it."""
        self.lasting: set[Any] = set()
        """The others, WebSockets among them."""

    def __len__(self) -> int:
        return len(self.fresh) + len(self.lasting)

    def look(self) -> None:
        """Listen for the clients of requests that begin to last."""
        if not self.fresh:
            return
        now = perf_counter_ns()
        late = list(takewhile(lambda one: now - self.fresh[one] >= LISTEN_AFTER_NS, self.fresh))
        for one in late:
            del self.fresh[one]
            if one.incoming.listen():
                self.lasting.add(one)
            else:
                self.fresh[one] = now
