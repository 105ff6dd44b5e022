"""What becomes of a request: its answer, as it goes by."""

import asyncio
from typing import Any, Final, cast

from litestar.types import Message, Receive, Send

from ._incoming import Incoming

CLIENT_GONE: Final = 499
"""What nginx calls a request whose client did not wait for the answer."""
_SWITCHED: Final = 101
_REFUSED: Final = 403
"""What servers answer to a handshake that is refused without a status."""
_HEADER: Final = b"x-request-id"


class HttpExchange:
    """A request and its answer.

    Args:
        receive: The server's.
        send: The server's.
        request_id: Put on the answer.
    """

    __slots__ = (
        "_is_answered",
        "_request_id",
        "_send",
        "_was_left",
        "is_stream",
        "receive",
        "sent_bytes",
        "status",
    )

    def __init__(self, receive: Receive, send: Send, request_id: str) -> None:
        self.receive = Incoming(receive)
        self._send = send
        self._request_id = request_id
        self.status: int | None = None
        self.sent_bytes = 0
        self.is_stream = False
        self._is_answered = False
        self._was_left = False
        self.receive.listen_soon()

    async def send(self, message: Message) -> None:
        """As the server's own, with the request's id on the answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message["headers"])
            self.is_stream = _is_event_stream(headers)
            message = {**message, "headers": _with_id(headers, self._request_id)}
        elif message["type"] == "http.response.body":
            self.sent_bytes += len(message.get("body", b""))
            if not message.get("more_body", False):
                self._is_answered = True
                self._was_left = self.receive.is_gone
        await self._send(message)

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
        if not self.is_stream and (self._was_left if self._is_answered else self.receive.is_gone):
            return CLIENT_GONE
        if self.status is not None:
            return self.status
        # Only a server that stops cancels an application whose client waits; it has answered then.
        return 503 if isinstance(error, asyncio.CancelledError) else 500

    def close(self) -> None:
        """It is over."""
        self.receive.close()


class WebSocketExchange:
    """A WebSocket, from its handshake on.

    Args:
        receive: The server's.
        send: The server's.
        request_id: Put on the answer to the handshake.
    """

    __slots__ = ("_request_id", "_send", "receive", "sent_bytes", "status")

    is_stream = True

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
            headers = _with_id(list(told.get("headers") or ()), self._request_id)
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

    def close(self) -> None:
        """It is over."""


Exchange = HttpExchange | WebSocketExchange


def _with_id(headers: list[tuple[bytes, bytes]], request_id: str) -> list[tuple[bytes, bytes]]:
    if any(len(name) == len(_HEADER) and name.lower() == _HEADER for name, _ in headers):
        headers = [header for header in headers if header[0].lower() != _HEADER]
    return [*headers, (_HEADER, request_id.encode())]


def _is_event_stream(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(
        value.startswith(b"text/event-stream") and name.lower() == b"content-type" for name, value in headers
    )


def _size(message: Any) -> int:
    return len(message.get("bytes") or b"") or len((message.get("text") or "").encode())
