"""The events of a service as parts of an AsyncAPI document.

See https://www.asyncapi.com/docs/reference/specification/v3.0.0.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ._cloud_event import CONTENT_TYPE
from ._events import EventHandler, EventType
from ._publisher import source_of

_SCHEMAS: Final = "#/components/schemas/"
_ENVELOPE: Final = "CloudEvent"
_REQUIRED: Final = (
    *("data", "datacontenttype", "id", "partitionkey", "source", "specversion", "time", "type"),
)
_TEXT: Final = {"type": "string"}


class _Document:
    """Collects channels, operations and messages."""

    def __init__(self) -> None:
        self.channels: dict[str, Any] = {}
        self.operations: dict[str, Any] = {}
        self.messages: dict[str, Any] = {}

    def add(self, operation: str, topic: str, key: str, message: Mapping[str, Any]) -> None:
        """Add an operation with its message."""
        channel = self.channels.setdefault(_key(topic), {"address": topic, "messages": {}})
        self.messages[key] = message
        channel["messages"][key] = {"$ref": f"#/components/messages/{key}"}
        self.operations[_key(f"{operation}.{key}")] = {
            "action": operation,
            "channel": {"$ref": f"#/channels/{_key(topic)}"},
            "messages": [{"$ref": f"#/channels/{_key(topic)}/messages/{key}"}],
        }


def document_of(
    service: str, publishes: Sequence[EventType[Any]], handlers: Sequence[EventHandler[Any]]
) -> dict[str, Any]:
    """Return channels, operations and components of AsyncAPI 3.0.

    A channel is a topic. Each published type is an operation `send`. Each handler is an operation `receive`,
    whose message has the fields that the handler needs.

    Args:
        service: Name of the service, which is its topic.
        publishes: Types of the events that it publishes.
        handlers: Functions that handle events.
    """
    types = [each.data for each in publishes] + [each.event_type.data for each in handlers]
    schemas, components = msgspec.json.schema_components(types, ref_template=f"{_SCHEMAS}{{name}}")
    sent, received = schemas[: len(publishes)], schemas[len(publishes) :]
    document = _Document()
    for event_type, schema in zip(publishes, sent, strict=True):
        document.add("send", service, _key(event_type.name), _message(service, event_type, schema))
    for handler, schema in zip(handlers, received, strict=True):
        key = _key(f"{handler.event_type.name}.{handler.job.name}")
        document.add("receive", handler.topic, key, _message(handler.topic, handler.event_type, schema))
    return {
        "defaultContentType": CONTENT_TYPE,
        "channels": dict(sorted(document.channels.items())),
        "operations": dict(sorted(document.operations.items())),
        "components": {
            "messages": dict(sorted(document.messages.items())),
            "schemas": dict(sorted((components | {_ENVELOPE: _envelope()}).items())),
        },
    }


def _message(topic: str, event_type: EventType[Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    fields = {"source": {"const": source_of(topic)}, "type": {"const": event_type.name}, "data": schema}
    return {
        "name": event_type.name,
        "contentType": CONTENT_TYPE,
        "payload": {"allOf": [{"$ref": f"{_SCHEMAS}{_ENVELOPE}"}, {"properties": fields}]},
    }


def _envelope() -> dict[str, Any]:
    """Return the attributes of CloudEvents that are sent, without those that depend on the type."""
    return {
        "type": "object",
        "required": [
            "data",
            "datacontenttype",
            "id",
            "partitionkey",
            "source",
            "specversion",
            "time",
            "type",
        ],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {
                **_TEXT,
                "description": "Unique within `source`; the same for an event that is sent twice.",
            },
            "source": _TEXT,
            "type": _TEXT,
            "time": {**_TEXT, "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "partitionkey": {**_TEXT, "description": "Events with the same key are received in order."},
            "traceparent": {**_TEXT, "description": "W3C trace context of what caused the event."},
            "requestid": {**_TEXT, "description": "Id of the request that caused the event."},
            "data": {},
        },
    }


def _key(name: str) -> str:
    """Return a name as a key of AsyncAPI's objects."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)
