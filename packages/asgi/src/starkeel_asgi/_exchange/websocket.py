"""One WebSocket."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from litestar.types import Receive, Scope, Send

from .config import REQUEST_ID, ExchangeConfig
from .exchange import Exchange, drop_message
from .response_headers import USUAL_STATUSES, content_headers
from .stream_end import SERVICE_RESTART, StreamEnd

_MESSAGE_TOO_BIG: Final = 1009
_SWITCHING_PROTOCOLS: Final = 101
_FORBIDDEN: Final = 403
"""Status of a handshake that the application refuses without one."""


class WebSocketExchange(Exchange):
    """A WebSocket, from its handshake on."""

    __slots__ = (
        "_ended",
        "_on_over",
        "ended_by",
        "is_accepted",
        "is_closed",
        "received_bytes",
        "received_messages",
    )

    client_disconnected = is_dropped = is_withheld = False
    turn_of = None

    def __init__(self, scope: Scope, receive: Receive, send: Send, config: ExchangeConfig) -> None:
        super().__init__(scope, receive, send, config)
        self._ended: asyncio.Future[None] | None = None
        self._on_over: Callable[[], None] | None = None
        self.ended_by: StreamEnd | None = None
        """Why the WebSocket must end."""
        self.is_event_stream = True
        self.is_accepted = self.is_closed = False
        self.received_bytes = self.received_messages = 0
        """Messages of the client that the application received, and their size."""

    async def receive(self) -> Any:
        """Receive the next message of the client; when the WebSocket is ended, it is closed."""
        if not self.is_accepted:
            return await self._receive()
        if self._ended is None:
            self._ended = asyncio.get_running_loop().create_future()
            if self.is_ending:
                self._ended.set_result(None)
        if not self._ended.done():
            incoming: asyncio.Future[Any] = asyncio.ensure_future(self._receive())
            try:
                either: set[Any] = {incoming, self._ended}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if incoming.done():
                    return await self._received(incoming.result())
            finally:
                # Granian holds a lock while it receives; nothing could be sent meanwhile.
                incoming.cancel()
        why = self.ended_by or SERVICE_RESTART
        await self.close(*why)
        return {"type": "websocket.disconnect", "code": why.code, "reason": ""}

    async def _received(self, message: Any) -> Any:
        if message["type"] != "websocket.receive":
            if self._on_over is not None:
                self._on_over()
            return message
        size, limit = _size(message), self.config.max_message_bytes
        self.received_messages += 1
        self.received_bytes += size
        if limit is None or size <= limit:
            return message
        await self.close(_MESSAGE_TOO_BIG, f"a message may have {limit} bytes")
        return {"type": "websocket.disconnect", "code": _MESSAGE_TOO_BIG, "reason": ""}

    async def send(self, message: Any) -> None:
        """Send a message to the client; nothing once the WebSocket is closed.

        Raises:
            DeadlineExceeded: The deadline passed.
        """
        if self._divert is not None:
            await self._divert(message)
            return
        kind: str = message["type"]
        if kind == "websocket.send":
            self.sent_bytes += _size(message)
        elif kind == "websocket.accept":
            self.is_accepted = True
            self.lift_deadline()
            message = self._started(message, _SWITCHING_PROTOCOLS)
        elif kind == "websocket.close":
            self._closed()
            message = self._close_message(message)
        elif kind == "websocket.http.response.start":
            message = self._started(message, message["status"])
        elif kind == "websocket.http.response.body" and not message.get("more_body", False):
            self.is_complete = self.is_closed = True
        await self._send(message)

    async def close(self, code: int, reason: str) -> None:
        """Close the WebSocket or refuse its handshake; no effect once it is closed or refused."""
        if self.is_closed or (self.is_started and not self.is_accepted):
            return
        self._closed()
        self._divert = drop_message
        message = {"type": "websocket.close", "code": code, "reason": reason}
        await self._send(self._close_message(message))

    def end(self, why: StreamEnd = SERVICE_RESTART) -> bool:
        """Close the WebSocket at its next receive, by default with 1012 (service restart); return `True`."""
        self.ended_by = self.ended_by or why
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
        if self._on_over is not None:
            self._on_over()
        return super().end(why)

    def listen_for_end(self, callback: Callable[[], None]) -> None:
        """Have a function called when a disconnect was received or the WebSocket must end."""
        self._on_over = callback
        if self.is_ending:
            callback()

    async def finish(self) -> None:
        """Close the WebSocket if it was aborted."""
        if self.is_aborted:
            await self.close(*(self.ended_by or SERVICE_RESTART))

    def _closed(self) -> None:
        self.is_complete = self.is_closed = True
        self.status = self.status or _FORBIDDEN
        self._divert = drop_message

    def _close_message(self, message: Any) -> Any:
        change = self.config.close_message
        return message if change is None else change(message)

    def _started(self, message: Any, status: int) -> Any:
        if status != _SWITCHING_PROTOCOLS and status not in USUAL_STATUSES:
            content_headers(status, ())
        self.status = status
        if not self.id_bytes:
            return message
        headers = [header for header in message.get("headers") or () if header[0].lower() != REQUEST_ID]
        return {**message, "headers": [*headers, (REQUEST_ID, self.id_bytes)]}


def _size(message: Any) -> int:
    return len(message.get("bytes") or b"") or len((message.get("text") or "").encode())
