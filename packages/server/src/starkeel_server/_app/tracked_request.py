"""One request or WebSocket, seen from outside the application."""

import asyncio
import time
from typing import Any, Protocol, cast

from litestar.exceptions import HTTPException
from litestar.types import Message, Receive, Send

from .._ipc.scoreboard import WorkerSlot

SERVICE_RESTART = 1012
_TOO_LATE = "The body did not arrive within {:g} seconds."
_UNAVAILABLE = (
    b'{"type":"about:blank","title":"Service Unavailable","status":503,'
    b'"detail":"The service is shutting down and could not finish this request."}'
)
_UNAVAILABLE_HEADERS = [
    (b"content-type", b"application/problem+json"),
    (b"content-length", str(len(_UNAVAILABLE)).encode()),
    (b"retry-after", b"1"),
    (b"connection", b"close"),
]


class Exchange(Protocol):
    """What the guard does with a request or WebSocket."""

    was_cut: bool

    async def receive(self) -> Any:
        """What the application receives by."""

    async def send(self, message: Message) -> None:
        """What the application sends by."""

    def end(self) -> bool:
        """End it cleanly if it would not end by itself; whether it is such."""

    async def complete(self) -> None:
        """Send what the application, having returned, left out because it was ended."""

    async def cut(self) -> None:
        """Answer the client and cancel the application."""


class _Ended(Exception):
    """The exchange was ended before anything came in."""


async def _unless_ended(receive: Receive, ending: asyncio.Future[None]) -> Any:
    """Receive, unless the exchange is ended first."""
    if ending.done():
        raise _Ended
    incoming: asyncio.Future[Any] = asyncio.ensure_future(receive())
    either: set[asyncio.Future[Any]] = {incoming, ending}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if incoming.done():
            return incoming.result()
        raise _Ended
    finally:
        # Granian holds a lock while it receives: nothing could be sent until this is gone.
        incoming.cancel()


class Body:
    """Receives a body; Granian itself would wait for the rest of it for ever.

    Args:
        receive: The server's.
        timeout_s: Seconds that a client may keep the application waiting, all in all.
    """

    __slots__ = ("_is_over", "_left_s", "_receive", "_timeout_s", "is_late")

    def __init__(self, receive: Receive, timeout_s: float) -> None:
        self._receive = receive
        self._timeout_s = self._left_s = timeout_s
        self._is_over = False
        self.is_late = False

    async def receive(self) -> Any:
        """As the server's own.

        Raises:
            HTTPException: With 408, when the time is over; it is rendered as any other problem is.
        """
        if self._is_over:
            return await self._receive()
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._left_s):
                message: Any = await self._receive()
        except TimeoutError:
            self.is_late = True
            # Whoever asks again waits no second time.
            self._left_s = 0.0
            raise HTTPException(_TOO_LATE.format(self._timeout_s), status_code=408) from None
        self._left_s -= time.monotonic() - began
        self._is_over = message["type"] != "http.request" or not message.get("more_body", False)
        return message


class HttpExchange:
    """A request and its response, an event stream for one."""

    __slots__ = (
        "_body",
        "_ending",
        "_is_answered",
        "_is_started",
        "_receive",
        "_send",
        "_slot",
        "_task",
        "was_cut",
    )

    def __init__(self, receive: Receive, send: Send, slot: WorkerSlot, *, body_timeout_s: float) -> None:
        self._receive = receive
        self._body = Body(receive, body_timeout_s)
        self._send = send
        self._slot = slot
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._ending: asyncio.Future[None] | bool = False
        self._is_started = False
        self._is_answered = False
        self.was_cut = False

    async def receive(self) -> Any:
        """As the server's own, but a body has a deadline, and a stream that is ended sees its client go."""
        if isinstance(self._ending, bool):
            return await self._body.receive()
        try:
            return await _unless_ended(self._receive, self._ending)
        except _Ended:
            return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """As the server's own, but asks the client to close its connection while the service drains."""
        if self._is_answered:
            return
        if message["type"] == "http.response.start":
            self._is_started = True
            headers = list(message["headers"])
            if _is_event_stream(headers):
                self._become_stream()
            if self._slot.is_draining or self._body.is_late:
                headers = [header for header in headers if header[0].lower() != b"connection"]
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self._is_answered = True
        await self._send(message)

    def end(self) -> bool:
        """Tell an event stream that its client has gone; one that starts later is told when it does."""
        if isinstance(self._ending, bool):
            self._ending = True
            return False
        if not self._ending.done():
            self._ending.set_result(None)
        return True

    async def complete(self) -> None:
        """Send the last, empty chunk of a stream that was ended: its client sees a complete response."""
        if (
            self._is_started
            and not self._is_answered
            and not isinstance(self._ending, bool)
            and self._ending.done()
        ):
            await self._send_last(b"")

    async def cut(self) -> None:
        """Answer 503, or end the stream, whatever the application does, and cancel it."""
        self.was_cut = True
        if not self._is_started:
            self._is_started = self._is_answered = True
            await self._send({"type": "http.response.start", "status": 503, "headers": _UNAVAILABLE_HEADERS})
            await self._send_last(_UNAVAILABLE)
        else:
            await self.complete()
        # A response that is half out cannot be completed truthfully: its connection is dropped.
        self._is_answered = True
        self._task.cancel()

    async def _send_last(self, body: bytes) -> None:
        self._is_answered = True
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    def _become_stream(self) -> None:
        ended_already = self._ending is True
        self._ending = asyncio.get_running_loop().create_future()
        if ended_already:
            self._ending.set_result(None)


class WebSocketExchange:
    """A WebSocket, from its handshake on."""

    __slots__ = ("_ending", "_is_accepted", "_is_closed", "_receive", "_send", "_task", "was_cut")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_accepted = False
        self._is_closed = False
        self.was_cut = False

    async def receive(self) -> Any:
        """As the server's own; when it is ended, it is closed and its handler sees the client go."""
        if not self._is_accepted:
            return await self._receive()
        try:
            return await _unless_ended(self._receive, self._ending)
        except _Ended:
            await self._close()
            return {"type": "websocket.disconnect", "code": SERVICE_RESTART, "reason": ""}

    async def send(self, message: Message) -> None:
        """As the server's own; nothing is sent to a client that was sent away."""
        if self._is_closed:
            return
        if message["type"] == "websocket.accept":
            self._is_accepted = True
        elif message["type"] == "websocket.close":
            self._is_closed = True
        await self._send(message)

    def end(self) -> bool:
        """Have the WebSocket closed with 1012 (service restart)."""
        if not self._ending.done():
            self._ending.set_result(None)
        return True

    async def complete(self) -> None:
        """Nothing is left out: closing is what ends it."""

    async def cut(self) -> None:
        """Close, whatever the application does, and cancel it."""
        self.was_cut = True
        await self._close()
        self._task.cancel()

    async def _close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        await self._send({"type": "websocket.close", "code": SERVICE_RESTART, "reason": "service restart"})


def _is_event_stream(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(
        name.lower() == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers
    )
