"""Live updates of a user's crates: server-sent events."""

import re
from typing import Annotated, get_args

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Example, OpenAPIType, Reference, Schema
from litestar.params import HeaderParameter, Parameter
from starkeel_auth import Principal, requires_scope
from starkeel_db import GAP, Event, OutboxPlugin
from starkeel_http import EventStream, limit_by_user, problem_responses, server_sent_event

from .schemas import EXAMPLE_ID, CrateView, EventType
from .users import user_id_of

_POSITION = re.compile("[0-9]{1,18}")

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
                content_schema=Reference(ref="#/components/schemas/CrateView"),
            ),
        },
        required=["event", "id", "data"],
    ),
}
"""Schema of the stream; the fields are those of the standard (HTML, 9.2.6)."""

_EXAMPLE = (
    "event: crate.created\r\n"
    "id: 1\r\n"
    f'data: {{"id":"{EXAMPLE_ID}","name":"oak-plank","quantity":12,'
    '"created_at":"2026-01-31T12:00:00Z","updated_at":"2026-01-31T12:00:00Z"}\r\n\r\n'
)

_decoder = msgspec.json.Decoder(CrateView)

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
    "/api/depot/events",
    operation_id="StreamDepotEvents",
    summary="Stream events",
    tags=["live"],
    guards=[requires_scope("depot:read")],
    opt=limit_by_user("depot_reading"),
    media_type="text/event-stream",
    responses={
        200: ResponseSpec(
            Annotated[str, Parameter(schema_extra=_EVENTS)],  # type: ignore[arg-type]  # Litestar reads it
            description="Server-sent events of the caller's crates;"
            " `gap`, with `last_event_id`, if events after that one may be deleted:"
            " read the crates again;"
            " and `end`, with the reason, if the service ends the stream.",
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
    """Send an event for every change of the caller's crates, while the token is valid."""
    key = str(user_id_of(principal))
    return EventStream(outbox.following(key, after=_position(last_event_id)), _server_sent_event)


def _position(last_event_id: str | None) -> int | None:
    """Return the position after which to start; 0, the beginning, for an id of an unknown format."""
    if last_event_id is None:
        return None
    return int(last_event_id) if _POSITION.fullmatch(last_event_id) else 0


def _server_sent_event(stored: Event) -> bytes:
    if stored.kind == GAP:
        return server_sent_event(stored.payload, event=GAP, event_id=str(stored.position))
    data = msgspec.json.encode(_decoder.decode(stored.payload)).decode()
    return server_sent_event(data, event=stored.kind, event_id=str(stored.position))
