"""Live updates of a user's orders: server-sent events and WebSocket."""

import re
from typing import Annotated, cast, get_args

import msgspec
from litestar import WebSocket, get, websocket
from litestar.di import NamedDependency
from litestar.exceptions import ValidationException
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Example, OpenAPIType, Reference, Schema
from litestar.params import HeaderParameter, Parameter, QueryParameter
from starkeel_auth import Principal, requires_scope
from starkeel_db import GAP, Event, OutboxPlugin
from starkeel_http import EventStream, limit_by_user, problem_responses, send_events, server_sent_event

from .schemas import EXAMPLE_ID, EventGap, EventType, OrderEvent, OrderView
from .users import user_id_of

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

_AFTER = "`id` of the last received event. The stream starts with the stored events after it."
LastEventId = Annotated[
    str | None,
    HeaderParameter(name="Last-Event-ID", max_length=128, description=_AFTER, examples=[Example(value="1")]),
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
            description="Server-sent events: `order.created`, `order.changed`, `order.cancelled`; `gap`, with"
            " `last_event_id`, if events after that one may be deleted: read the orders again; and `end`,"
            " with the reason, if the service ends the stream.",
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
) -> EventStream:
    """Send an event for every change of the caller's orders, while the token is valid."""
    key = str(user_id_of(principal))
    return EventStream(outbox.following(key, after=_position(last_event_id)), _server_sent_event)


@websocket("/api/orders/live", guards=[*_READ], opt=limit_by_user("order_reading"))
async def live(
    socket: WebSocket,  # type: ignore[type-arg]  # Litestar refuses the generic form
    principal: NamedDependency[Principal],
    outbox: NamedDependency[OutboxPlugin],
    last_event_id: Annotated[str | None, QueryParameter(max_length=128, description=_AFTER)] = None,
) -> None:
    """Send an event for every change of the caller's orders; messages of the client are ignored."""
    key = str(user_id_of(principal))
    await send_events(socket, outbox.following(key, after=_position(last_event_id)), _message)


def _position(last_event_id: str | None) -> int | None:
    """Return the position after which to start.

    Raises:
        ValidationException: The text is no id of an event.
    """
    if last_event_id is None:
        return None
    if not _POSITION.fullmatch(last_event_id):
        message = "is not the `id` of a received event, which is a number; omit it to receive new events only"
        error = {"key": "last_event_id", "message": message, "source": "header"}
        raise ValidationException(f"`Last-Event-ID` {message}.", extra=[error])
    return int(last_event_id)


def _server_sent_event(stored: Event) -> bytes:
    if stored.kind == GAP:
        return server_sent_event(stored.payload, event=GAP, event_id=str(stored.position))
    data = msgspec.json.encode(_decoder.decode(stored.payload)).decode()
    return server_sent_event(data, event=stored.kind, event_id=str(stored.position))


def _message(stored: Event) -> str:
    if stored.kind == GAP:
        gap = msgspec.json.decode(stored.payload)
        return msgspec.json.encode(EventGap(id=str(stored.position), **gap)).decode()
    order = _decoder.decode(stored.payload)
    event = OrderEvent(id=str(stored.position), type=cast("EventType", stored.kind), order=order)
    return msgspec.json.encode(event).decode()
