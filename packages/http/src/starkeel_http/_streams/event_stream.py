"""Server-sent events and WebSocket messages from a source of events."""

import asyncio
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from random import randrange
from typing import Any, Final, Protocol, TypeVar

from litestar import Request, WebSocket
from litestar.exceptions import ImproperlyConfiguredException
from litestar.response.base import ASGIResponse, Response
from litestar.types import Receive, Scope, Send

from .event_queue import SlowConsumerError
from .open_streams import SLOW_CONSUMER, STREAMS_KEY, OpenStream, OpenStreams

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

_MEDIA_TYPE: Final = "text/event-stream"
_HEARTBEAT: Final = b": heartbeat\n\n"
_LINES: Final = re.compile(r"\r\n|\r|\n")


class EventSource(Protocol[T_co]):
    """Source of the events of one stream."""

    async def next(self) -> T_co:
        """Wait for the next event; cancelling the wait must lose none.

        Raises:
            SlowConsumerError: Events were dropped as the client reads too slowly.
        """


def server_sent_event(data: str, *, event: str | None = None, event_id: str | None = None) -> bytes:
    """Return an event in the format of event streams (HTML, 9.2.6).

    Raises:
        ValueError: The type or id of the event has a line break, or the id a null character.
    """
    lines = []
    for name, value in (("event", event), ("id", event_id)):
        if value is not None:
            if _LINES.search(value) or (name == "id" and "\0" in value):
                raise ValueError(f"the {name} of a server-sent event has a line break or a null character")
            lines.append(f"{name}: {value}\n")
    lines += [f"data: {line}\n" for line in _LINES.split(data)]
    return f"{''.join(lines)}\n".encode()


class EventStream(Response[bytes]):
    """Response that sends the events of a source until its client disconnects or the stream must end.

    It sends heartbeats, ends when the user's token is no longer valid or its client reads too slowly, and
    then sends an event `end` with the reason. The source is entered before the response starts: an exception
    is still responded to.

    Args:
        source: Context manager that returns the `EventSource`.
        encode: Returns the bytes of an event, such as by `server_sent_event`.
        retry_ms: Milliseconds after which a client reconnects, and up to twice as many: clients of a worker
            that stops do not all reconnect at once.
    """

    def __init__(
        self,
        source: AbstractAsyncContextManager[EventSource[T]],
        encode: Callable[[T], bytes],
        *,
        retry_ms: int = 2000,
    ) -> None:
        super().__init__(content=b"", media_type=_MEDIA_TYPE)
        self._source = source
        self._encode = encode
        self._retry_ms = retry_ms

    def to_asgi_response(
        self,
        app: Any,  # noqa: ARG002  (of the base class)
        request: Request[Any, Any, Any],
        *,
        headers: dict[str, str] | None = None,
        **_: Any,
    ) -> ASGIResponse:
        """Return the ASGI application that sends the stream."""
        response = _EventStreamResponse(
            media_type=_MEDIA_TYPE, headers={**(headers or {}), **self.headers}, status_code=200
        )
        # Proxies such as nginx would hold events back (X-Accel-Buffering), and must not change them.
        response.headers.setdefault("cache-control", "no-store, no-transform")
        response.headers.setdefault("x-accel-buffering", "no")
        response.source, response.encode = self._source, self._encode
        retry_ms = self._retry_ms + randrange(self._retry_ms + 1)  # noqa: S311  (no secret)
        response.first = f": listening\nretry: {retry_ms}\n\n".encode()
        response.stream = _stream_of(request)
        return response


class _EventStreamResponse(ASGIResponse):
    _should_set_content_length = False
    source: AbstractAsyncContextManager[EventSource[Any]]
    encode: Callable[[Any], bytes]
    first: bytes
    stream: OpenStream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  (of ASGI)
        stream = self.stream
        async with self.source as source:
            await self.start_response(send)
            stream.attach()
            await stream.send(_body(self.first))
            await _send_all(stream, source, self.encode, _HEARTBEAT, _body)


async def send_events(
    socket: WebSocket,  # type: ignore[type-arg]  # Litestar refuses the generic form
    source: AbstractAsyncContextManager[EventSource[T]],
    encode: Callable[[T], str],
    *,
    heartbeat: str = '{"type":"heartbeat"}',
    on_message: Callable[[str | bytes], None] | None = None,
    silence_s: float | None = None,
) -> None:
    """Accept a WebSocket and send the events of a source until it is closed or must end.

    It sends heartbeats, and is closed with code and reason when the user's token is no longer valid or the
    client reads too slowly. The source is entered before the WebSocket is accepted.

    Args:
        socket: The WebSocket.
        source: Context manager that returns the `EventSource`.
        encode: Returns the message of an event.
        heartbeat: Message that is sent when there are no events for a while.
        on_message: Called with each message of the client; without it messages are ignored.
        silence_s: Seconds without a message of the client after which the WebSocket is closed with 4408, for
            clients that respond to heartbeats; `None` for clients that send nothing.
    """
    stream = _stream_of(socket)
    async with source as events:
        await socket.accept()
        stream.attach()
        stream.silence_s = silence_s
        failure: Exception | None = None
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(_read(stream, on_message))
            try:
                await _send_all(stream, events, encode, heartbeat, _text)
                if stream.exchange.is_ending:
                    # Closes the WebSocket, with the reason.
                    await reader
            except Exception as error:  # noqa: BLE001  (raised below, not as a group)
                failure = error
            finally:
                reader.cancel()
    if failure is not None:
        raise failure


async def _send_all(
    stream: OpenStream,
    source: EventSource[T],
    encode: Callable[[T], Any],
    heartbeat: Any,
    message_of: Callable[[Any], Any],
) -> None:
    while True:
        try:
            event = await stream.next(source)
        except SlowConsumerError:
            stream.end(SLOW_CONSUMER)
            return
        if stream.is_over:
            return
        if event is not None and not stream.end_unless_permitted():
            return
        await stream.send(message_of(heartbeat if event is None else encode(event)))


async def _read(stream: OpenStream, on_message: Callable[[str | bytes], None] | None) -> None:
    while True:
        message = await stream.exchange.receive()
        if message["type"] == "websocket.disconnect":
            stream.stop()
            return
        stream.note_message()
        if on_message is not None:
            text = message.get("text")
            on_message(message.get("bytes") or b"" if text is None else text)


def _body(part: bytes) -> Any:
    return {"type": "http.response.body", "body": part, "more_body": True}


def _text(text: str) -> Any:
    return {"type": "websocket.send", "text": text, "bytes": None}


def _stream_of(connection: Request[Any, Any, Any] | WebSocket[Any, Any, Any]) -> OpenStream:
    streams = connection.app.state.get(STREAMS_KEY)
    stream = streams.of(connection.scope) if isinstance(streams, OpenStreams) else None
    if stream is None:
        raise ImproperlyConfiguredException(
            "a stream requires an HttpPlugin in the application's plugins, and a handler that is annotated to"
            " return `EventStream`"
        )
    return stream
