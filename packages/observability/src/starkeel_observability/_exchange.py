"""What becomes of a request: its answer, as it goes by."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, Final, cast

from litestar.types import Message, Receive, Send

from ._incoming import Incoming

CLIENT_GONE: Final = 499
"""What nginx calls a request whose client did not wait for the answer."""
_SWITCHED: Final = 101
_REFUSED: Final = 403
"""What servers answer to a handshake that is refused without a status."""
_HEADER: Final = b"x-request-id"


class HttpExchange(Incoming):
    """A request and its answer.

    Args:
        receive: The server's.
        send: The server's.
        request_id: Put on the answer.
    """

    def __init__(self, receive: Receive, send: Send, request_id: str) -> None:
        self._receive = receive
        self._send = send
        self._request_id = request_id
        self.reading = None
        self.status: int | None = None
        self.sent_bytes = 0
        self.is_stream = False
        self.was_left: bool | None = None
        """Whether the client had gone before the answer was complete; none when it is not."""

    def send(self, message: Message) -> Awaitable[None]:
        """As the server's own, with the request's id on the answer."""
        # Not a coroutine of its own: what the server returns is waited for just as well.
        if self.status is None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                message = {**message, "headers": self._identified(message["headers"])}
        elif message["type"] == "http.response.body":
            self.sent_bytes += len(message.get("body", b""))
            if not message.get("more_body"):
                self.was_left = self.is_gone
        return self._send(message)

    def _identified(self, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """An answer's headers with the request's id; it is seen, too, what kind of answer it is."""
        # Their names are in lower case, as ASGI has it.
        named = dict(given)
        self.is_stream = named.get(b"content-type", b"").startswith(b"text/event-stream")
        if _HEADER in named:
            return _with_id(given, self._request_id)
        return [*given, (_HEADER, self._request_id.encode())]

    async def apologize(self) -> None:
        """Answer 500 in place of an application that raised without answering."""
        if self.status is None:
            headers = [(b"content-length", b"0")]
            await self.send({"type": "http.response.start", "status": 500, "headers": headers})
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    def outcome(self, error: BaseException | None) -> int:
        """The status that is told.

        Args:
            error: What the application raised.
        """
        # Leaving is how event streams end.
        if not self.is_stream and (self.is_gone if self.was_left is None else self.was_left):
            return CLIENT_GONE
        if self.status is not None:
            return self.status
        # Only a server that stops cancels an application whose client waits; it has answered then.
        return 503 if isinstance(error, asyncio.CancelledError) else 500


class WebSocketExchange:
    """A WebSocket, from its handshake on.

    Args:
        receive: The server's.
        send: The server's.
        request_id: Put on the answer to the handshake.
    """

    __slots__ = ("_request_id", "_send", "receive", "sent_bytes", "status")

    is_stream = True
    reading = None
    was_left = None

    def __init__(self, receive: Receive, send: Send, request_id: str) -> None:
        self.receive = receive
        self._send = send
        self._request_id = request_id
        self.status: int | None = None
        self.sent_bytes = 0

    async def send(self, message: Message) -> None:
        """As the server's own, with the request's id on the answer to the handshake."""
        kind: str = message["type"]
        if kind == "websocket.send":
            self.sent_bytes += _size(message)
        elif self.status is None and kind == "websocket.close":
            self.status = _REFUSED
        elif self.status is None:
            told: Any = message
            self.status = _SWITCHED if kind == "websocket.accept" else told["status"]
            headers = _with_id(told.get("headers") or (), self._request_id)
            message = cast("Message", {**told, "headers": headers})
        await self._send(message)

    async def apologize(self) -> None:
        """Nothing: servers refuse or close it themselves."""

    def outcome(self, error: BaseException | None) -> int:
        """The status that is told.

        Args:
            error: What the application raised.
        """
        if self.status is not None:
            return self.status
        return _REFUSED if error is None else 500


Exchange = HttpExchange | WebSocketExchange


def _with_id(headers: Iterable[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    kept = [header for header in headers if header[0].lower() != _HEADER]
    return [*kept, (_HEADER, request_id.encode())]


def _size(message: Any) -> int:
    return len(message.get("bytes") or b"") or len((message.get("text") or "").encode())
