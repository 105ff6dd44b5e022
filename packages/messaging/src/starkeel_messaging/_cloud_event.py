"""Events as they are sent: CloudEvents 1.0 in JSON (structured mode).

Extensions: `traceparent` (distributed tracing), `partitionkey` (partitioning) and `requestid`.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

CONTENT_TYPE: Final = "application/cloudevents+json"
_MAX_TEXT: Final = 255

Text = Annotated[str, Meta(min_length=1, max_length=_MAX_TEXT)]
Key = Annotated[str, Meta(min_length=1, max_length=200)]
_MAX_BYTES: Final = 900_000
"""Maximum size of an event; the arguments of a job have at most a million bytes."""


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event with the attributes of CloudEvents 1.0.

    Attributes:
        id: Unique within `source`; the same for an event that is sent twice.
        source: The service that published it, like `/services/orders`.
        type: Its type, like `order.created`.
        partitionkey: Ordering key: events with the same key are received in order.
        data: JSON.
    """

    id: Text
    source: Text
    type: Text
    data: msgspec.Raw
    specversion: Literal["1.0"]
    partitionkey: Key | None = None
    time: datetime | None = None
    datacontenttype: str = "application/json"
    traceparent: str | None = None
    requestid: str | None = None


class MalformedEventError(ValueError):
    """The received bytes are no CloudEvent in JSON."""


_decoder: Final = msgspec.json.Decoder(CloudEvent)


def encode(event: CloudEvent) -> bytes:
    """Return an event as JSON."""
    # `omit_defaults` would omit it, but it is required.
    return msgspec.json.encode({**_fields(event), "datacontenttype": "application/json"})


def decode(body: bytes) -> CloudEvent:
    """Read an event.

    Raises:
        MalformedEventError: It is malformed; the message names the attribute, not its value.
    """
    if len(body) > _MAX_BYTES:
        raise MalformedEventError(f"Event has {len(body)} bytes, at most {_MAX_BYTES} are accepted")
    try:
        event = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedEventError(str(error)) from None
    if event.datacontenttype.partition(";")[0].strip() != "application/json":
        raise MalformedEventError("Object has data that is not JSON - at `$.datacontenttype`")
    for name in ("partitionkey", "traceparent", "requestid"):
        if "\0" in (getattr(event, name) or ""):
            # PostgreSQL has no such character.
            raise MalformedEventError(f"Object has a NUL - at `$.{name}`")
    return event


def _fields(event: CloudEvent) -> dict[str, Any]:
    names = event.__struct_fields__
    found = {name: getattr(event, name) for name in names if getattr(event, name) is not None}
    if event.time is not None:
        found["time"] = event.time.astimezone(UTC)
    return found
