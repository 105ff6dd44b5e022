"""Event streams and WebSockets with a user, whose token a test can end."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import structlog
from litestar import Request, WebSocket, get, post, websocket
from litestar.connection import ASGIConnection
from litestar.exceptions import ServiceUnavailableException
from litestar.handlers import BaseRouteHandler
from litestar.response import ServerSentEvent
from starkeel_http import EventQueue, EventStream, send_events, server_sent_event

log = structlog.get_logger("http_sample")

_queues: dict[str, list[EventQueue[str]]] = {}
_ended: set[str] = set()


@dataclass(frozen=True)
class TokenUser:
    subject: str
    expires_at: float

    def is_valid(self) -> bool:
        return time.time() < self.expires_at and self.subject not in _ended


async def authenticate(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    lifetime_s = float(connection.headers.get("x-lifetime", "600"))
    connection.scope["user"] = TokenUser(connection.headers["x-user"], time.time() + lifetime_s)


@asynccontextmanager
async def _subscribed(user: str) -> AsyncGenerator[EventQueue[str]]:
    queue = EventQueue[str](10)
    _queues.setdefault(user, []).append(queue)
    try:
        yield queue
    finally:
        _queues[user].remove(queue)
        log.info("unsubscribed", user=user)


@dataclass
class Endless:
    """Source that always has an event; `sent` is the number of those that were taken."""

    sent: int = 0

    async def next(self) -> str:
        await asyncio.sleep(0)
        self.sent += 1
        return str(self.sent).rjust(65_536, ".")


@asynccontextmanager
async def _endless() -> AsyncGenerator[Endless]:
    yield Endless()


@asynccontextmanager
async def _failing() -> AsyncGenerator[Endless]:
    raise ServiceUnavailableException("No events now.")
    yield


def _encode(text: str) -> bytes:
    return server_sent_event(text, event="message", event_id=text[-8:].lstrip("."))


@get("/live", guards=[authenticate])
async def live_events(request: Request[Any, Any, Any]) -> EventStream:
    return EventStream(_subscribed(request.user.subject), _encode)


@get("/live-endless", guards=[authenticate])
async def live_endless() -> EventStream:
    return EventStream(_endless(), _encode)


@get("/live-failing")
async def live_failing() -> EventStream:
    return EventStream(_failing(), _encode)


@get("/live-plain", guards=[authenticate])
async def live_plain() -> ServerSentEvent:
    async def ticks() -> AsyncGenerator[str]:
        while True:
            yield "tick"
            await asyncio.sleep(0.05)

    return ServerSentEvent(ticks())


@websocket("/live-socket", guards=[authenticate])
async def live_socket(socket: WebSocket) -> None:  # type: ignore[type-arg]
    subject = socket.scope["user"].subject
    silence = socket.headers.get("x-silence")

    def received(message: str | bytes) -> None:
        log.info("message received", text=str(message))

    await send_events(
        socket,
        _subscribed(subject),
        str,
        on_message=received,
        silence_s=None if silence is None else float(silence),
    )


@websocket("/live-endless-socket", guards=[authenticate])
async def live_endless_socket(socket: WebSocket) -> None:  # type: ignore[type-arg]
    await send_events(socket, _endless(), str)


@websocket("/live-plain-socket", guards=[authenticate])
async def live_plain_socket(socket: WebSocket) -> None:  # type: ignore[type-arg]
    await socket.accept()
    while True:
        await socket.send_text("tick")
        await asyncio.sleep(0.05)


@post("/live-publish", status_code=200)
async def publish(user: str, count: int, size: int) -> int:
    """Send events to the streams of a user; return how many had room."""
    found = _queues.get(user, [])
    return sum(queue.put(str(number).rjust(size, ".")) for number in range(count) for queue in found)


@post("/live-end-session", status_code=204)
async def end_session(user: str) -> None:
    _ended.add(user)


LIVE_HANDLERS = [
    end_session,
    live_endless,
    live_endless_socket,
    live_events,
    live_failing,
    live_plain,
    live_plain_socket,
    live_socket,
    publish,
]
