"""What becomes of a request: its answer, as it goes by."""

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, Final, cast

from litestar.types import Message, Receive, Scope, Send

from .disconnect_watcher import Incoming
from .request import REQUEST_ID, Request

CLIENT_GONE: Final = 499
"""What nginx calls a request whose client did not wait for the answer."""
_SWITCHED: Final = 101
_REFUSED: Final = 403
"""What servers answer to a handshake that is refused without a status."""


class HttpExchange(Request):
    """A request and its answer."""

    __slots__ = ()

    @property
    def incoming(self) -> Incoming:
        """What comes from the client."""
        if self._incoming is None:
            self._incoming = Incoming(self._receive)
        return self._incoming

    def receive(self) -> Awaitable[Any]:
        """As the server's own."""
        return self.incoming.receive()

    def send(self, message: Any) -> Awaitable[None]:
        """As the server's own, with the request's id on the answer."""
        # Not a coroutine of its own: what the server returns is waited for just as well.
        if self.status:
            if message["type"] == "http.response.body":
                self.sent_bytes += len(message.get("body", b""))
                if not (message.get("more_body") or self.is_stream):
                    incoming = self._incoming
                    self.was_left = incoming is not None and incoming.is_gone
        elif message["type"] == "http.response.start":
            self.status = message["status"]
            given = message.get("headers", ())
            # Their names are in lower case, as ASGI has it.
            named = dict(given)
            if named.get(b"content-type", b"")[:17] == b"text/event-stream":
                self.is_stream = True
            headers = _without_id(given) if REQUEST_ID in named else given
            message["headers"] = [*headers, (REQUEST_ID, self.id_bytes)]
        return self._send(message)

    @property
    def is_answered(self) -> bool:
        """Whether it is too late for another answer."""
        return self.status != 0

    async def apologize(self) -> None:
        """Answer 500 in place of an application that raised without answering."""
        if not self.status:
            headers = [(b"content-length", b"0")]
            await self.send({"type": "http.response.start", "status": 500, "headers": headers})
            await self.send({"type": "http.response.body", "body": b"", "more_body": False})

    def outcome(self, error: BaseException | None) -> int:
        """The status that is told.

        Args:
            error: What the application raised.
        """
        # Leaving is how event streams end.
        is_gone = self._incoming is not None and self._incoming.is_gone
        if not self.is_stream and (is_gone if self.was_left is None else self.was_left):
            return CLIENT_GONE
        if self.status:
            return self.status
        # Only a server that stops cancels an application whose client waits; it has answered then.
        return 503 if isinstance(error, asyncio.CancelledError) else 500


class WebSocketExchange(Request):
    """A WebSocket, from its handshake on."""

    __slots__ = ()

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.is_stream = True

    def receive(self) -> Awaitable[Any]:
        """As the server's own."""
        return self._receive()

    async def send(self, message: Message) -> None:
        """As the server's own, with the request's id on the answer to the handshake."""
        kind: str = message["type"]
        if kind == "websocket.send":
            self.sent_bytes += _size(message)
        elif not self.status and kind == "websocket.close":
            self.status = _REFUSED
        elif not self.status:
            told: Any = message
            self.status = _SWITCHED if kind == "websocket.accept" else told["status"]
            headers = [*_without_id(told.get("headers") or ()), (REQUEST_ID, self.id_bytes)]
            message = cast("Message", {**told, "headers": headers})
        await self._send(message)

    @property
    def is_answered(self) -> bool:
        """Never: it can be closed at any time."""
        return False

    async def apologize(self) -> None:
        """Nothing: servers refuse or close it themselves."""

    def outcome(self, error: BaseException | None) -> int:
        """The status that is told.

        Args:
            error: What the application raised.
        """
        if self.status:
            return self.status
        return _REFUSED if error is None else 500


Exchange = HttpExchange | WebSocketExchange


def _without_id(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [header for header in headers if header[0].lower() != REQUEST_ID]


def _size(message: Any) -> int:
    return len(message.get("bytes") or b"") or len((message.get("text") or "").encode())
