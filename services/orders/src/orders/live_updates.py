"""Live updates of a user's orders: server-sent events and WebSocket."""

import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, cast, get_args

import anyio
import msgspec
from anyio import CancelScope
from litestar import WebSocket, get, websocket
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Example, OpenAPIType, Reference, Schema
from litestar.params import HeaderParameter, Parameter
from litestar.response import ServerSentEvent, ServerSentEventMessage
from starkeel_auth import Principal, requires_scope
from starkeel_db import OutboxPlugin
from starkeel_http import limit_by_user, problem_responses

from .schemas import EXAMPLE_ID, EventType, OrderEvent, OrderView
from .users import user_id_of

HEARTBEAT_S = 15.0
"""Seconds without an event until a heartbeat is sent; shorter than the idle timeouts of proxies."""

_RETRY_MS = 2000
_TRY_AGAIN_LATER = 1013
_EXPIRED = 4401
_POSITION = re.compile("[0-9]{1,18}")
_READ = [requires_scope("orders:read")]

_EVENTS = {
    "contentMediaType": "text/event-stream",
    "contentSchema": Schema(
        type=OpenAPIType.OBJECT,
        description="One event.",
        properties={
            "event": Schema(type=OpenAPIType.STRING, enum=list(get_args(EventType))),
            "id": Schema(
                type=OpenAPIType.STRING, pattern="^[0-9]{1,18}$", description="For `Last-Event-ID`."
            ),
            "data": Schema(
                type=OpenAPIType.STRING,
                content_media_type="application/json",
                content_schema=Reference(ref="#/components/schemas/OrderView"),
            ),
        },
        required=["event", "id", "data"],
    ),
}
"""Schema of the stream; the fields are those of the standard (HTML, 9.2.6)."""

_EXAMPLE = (
    "event: order.created\r\n"
    "id: 1\r\n"
    f'data: {{"id":"{EXAMPLE_ID}","product_type":"oak-plank","quantity":12,"status":"open",'
    '"created_at":"2026-01-31T12:00:00Z","updated_at":"2026-01-31T12:00:00Z"}\r\n\r\n'
)

_decoder = msgspec.json.Decoder(OrderView)

LastEventId = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID",
        max_length=128,
        description="`id` of the last received event. The stream starts with the stored events after it.",
        examples=[Example(value="1")],
    ),
]


@get(
    "/api/orders/events",
    summary="Stream order events",
    tags=["live"],
    guards=_READ,
    opt=limit_by_user("order_reading"),
    media_type="text/event-stream",
    responses={
        200: ResponseSpec(
            Annotated[str, Parameter(schema_extra=_EVENTS)],  # type: ignore[arg-type]  # Litestar reads it
            description="Server-sent events: `order.created`, `order.changed`, `order.cancelled`.",
            generate_examples=False,
            examples=[Example(value=_EXAMPLE)],
            media_type="text/event-stream",
        )
    }
    | problem_responses(400, 401, 403, 429, 503),
)
async def events(
    principal: NamedDependency[Principal],
    outbox: NamedDependency[OutboxPlugin],
    last_event_id: LastEventId = None,
) -> ServerSentEvent:
    """Send an event for every change of the caller's orders, while the token is valid."""
    order_events = _subscribe(outbox, principal, last_event_id)
    # Subscribe before the response starts: a failure can still be reported, and no later event is missed.
    await anext(order_events)
    return ServerSentEvent(_messages(order_events))


@websocket("/api/orders/live", guards=[*_READ], opt=limit_by_user("order_reading"))
async def live(
    socket: WebSocket,  # type: ignore[type-arg]  # Litestar refuses the generic form
    principal: NamedDependency[Principal],
    outbox: NamedDependency[OutboxPlugin],
) -> None:
    """Send an event for every change of the caller's orders; messages of the client are ignored."""
    async with aclosing(_subscribe(outbox, principal, None)) as order_events:
        await anext(order_events)
        await socket.accept()
        is_over = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_on_disconnect, socket, tasks.cancel_scope)
            async for event in order_events:
                text = msgspec.json.encode(event).decode() if event else '{"type":"heartbeat"}'
                await socket.send_text(text)
            is_over = True
            tasks.cancel_scope.cancel()
        # Outside of the cancelled scope, in which the message could be lost.
        if is_over:
            await socket.close(code=_TRY_AGAIN_LATER if principal.is_valid() else _EXPIRED)


async def _subscribe(
    outbox: OutboxPlugin, principal: Principal, last_event_id: str | None
) -> AsyncGenerator[OrderEvent | None]:
    """Yield the caller's events while the token is valid: first those after `last_event_id`, then new ones.

    Yields `None` as soon as it is subscribed, and as a heartbeat.

    Raises:
        DatabaseUnavailable: The events cannot be read.
    """
    async with outbox.following(str(user_id_of(principal)), after=_position(last_event_id)) as subscription:
        yield None
        while principal.is_valid():
            remaining_s = max(0.0, principal.expires_at - time.time())
            event: OrderEvent | None = None
            with anyio.move_on_after(min(HEARTBEAT_S, remaining_s)):
                stored = await subscription.next()
                order = _decoder.decode(stored.payload)
                event = OrderEvent(id=str(stored.position), type=cast("EventType", stored.kind), order=order)
            if event is None or principal.is_valid():
                yield event


def _position(last_event_id: str | None) -> int | None:
    """Return the position after which to start; 0, the beginning, for an id of an unknown format."""
    if last_event_id is None:
        return None
    return int(last_event_id) if _POSITION.fullmatch(last_event_id) else 0


async def _messages(
    order_events: AsyncGenerator[OrderEvent | None],
) -> AsyncGenerator[ServerSentEventMessage]:
    async with aclosing(order_events):
        yield ServerSentEventMessage(comment="listening", retry=_RETRY_MS, data=None)
        async for event in order_events:
            if event is None:
                yield ServerSentEventMessage(comment="heartbeat", data=None)
            else:
                data = msgspec.json.encode(event.order)
                yield ServerSentEventMessage(data=data, event=event.type, id=event.id)


async def _cancel_on_disconnect(socket: WebSocket, scope: CancelScope) -> None:  # type: ignore[type-arg]  # as above
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
    scope.cancel()
