"""Events of one's own orders as they happen: server-sent, and by WebSocket."""

import time
from collections.abc import AsyncGenerator
from typing import Annotated

import anyio
import msgspec
from anyio import CancelScope
from litestar import WebSocket, get, websocket
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import HeaderParameter
from litestar.response import ServerSentEvent, ServerSentEventMessage
from starkeel_auth import Principal, requires_scope
from starkeel_db import Outbox
from starkeel_http import problem_responses

from .events import OrderEvent, following
from .users import user_id_of

HEARTBEAT_S = 15.0
"""Seconds of silence after which a sign of life is sent: shorter than what proxies call idle."""

_RETRY_MS = 2000
_TRY_AGAIN_LATER = 1013
_EXPIRED = 4401
_HEARTBEAT = '{"type":"heartbeat"}'
_READ = [requires_scope("orders:read")]

LastEventId = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID",
        max_length=128,
        description="`id` of the last event seen: what was missed since, and is remembered, comes first.",
    ),
]


@get(
    "/api/orders/events",
    summary="Watch my orders",
    tags=["live"],
    guards=_READ,
    media_type="text/event-stream",
    responses={
        200: ResponseSpec(
            str,
            description="`order.created`, `order.changed`, `order.cancelled`.",
            media_type="text/event-stream",
        )
    }
    | problem_responses(400, 401, 403, 503),
)
async def events(
    principal: NamedDependency[Principal],
    outbox: NamedDependency[Outbox],
    last_event_id: LastEventId = None,
) -> ServerSentEvent:
    """Send an event for everything that happens to the caller's orders, until the token expires."""
    frames = _frames(outbox, principal, last_event_id)
    # Listening begins before the answer: a failure is then an answer, and nothing after the 200 is missed.
    first = await anext(frames)
    return ServerSentEvent(_chained(first, frames))


@websocket("/api/orders/live", guards=[*_READ])
async def live(
    socket: WebSocket,  # type: ignore[type-arg]  # Litestar refuses the generic form
    principal: NamedDependency[Principal],
    outbox: NamedDependency[Outbox],
) -> None:
    """Send an event for everything that happens to the caller's orders; what the client says is not heard."""
    async with following(outbox, user_id_of(principal), last_event_id=None) as feed:
        await socket.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_until_gone, socket, tasks.cancel_scope)
            async for event in feed.events(heartbeat_s=HEARTBEAT_S, until=principal.expires_at):
                await socket.send_text(
                    msgspec.json.encode(event).decode() if event else '{"type":"heartbeat"}'
                )
            tasks.cancel_scope.cancel()
            await socket.close(code=_EXPIRED if time.time() >= principal.expires_at else _TRY_AGAIN_LATER)


async def _frames(
    outbox: Outbox, principal: Principal, last_event_id: str | None
) -> AsyncGenerator[ServerSentEventMessage]:
    async with following(outbox, user_id_of(principal), last_event_id=last_event_id) as feed:
        yield ServerSentEventMessage(comment="listening", retry=_RETRY_MS, data=None)
        async for event in feed.events(heartbeat_s=HEARTBEAT_S, until=principal.expires_at):
            yield _message(event) if event else ServerSentEventMessage(comment="heartbeat", data=None)


async def _chained(
    first: ServerSentEventMessage, rest: AsyncGenerator[ServerSentEventMessage]
) -> AsyncGenerator[ServerSentEventMessage]:
    try:
        yield first
        async for message in rest:
            yield message
    finally:
        await rest.aclose()


def _message(event: OrderEvent) -> ServerSentEventMessage:
    return ServerSentEventMessage(data=msgspec.json.encode(event.order), event=event.type, id=event.id)


async def _until_gone(socket: WebSocket, scope: CancelScope) -> None:  # type: ignore[type-arg]  # as above
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
    scope.cancel()
