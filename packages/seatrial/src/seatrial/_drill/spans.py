"""Spans of requests to an OTLP collector, in protobuf or JSON."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .protobuf import WireError, double, fields, message, number, signed, text

_SERVER = 2
_ERROR = 2
_KINDS = {"SPAN_KIND_SERVER": _SERVER}
_CODES = {"STATUS_CODE_ERROR": _ERROR, "STATUS_CODE_OK": 1}


class DecodeError(ValueError):
    """A body that is no request of OTLP."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span.

    Attributes:
        trace_id: In lower-case hexadecimal digits.
        span_id: In lower-case hexadecimal digits.
        parent_id: In lower-case hexadecimal digits; empty for a root.
        name: Name.
        kind: Number of its kind.
        attributes: Attributes.
        status: Code of its status: 0 unset, 1 ok, 2 error.
        status_message: Message of its status.
        events: Names and attributes of its events.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    attributes: Mapping[str, Any]
    status: int
    status_message: str
    events: tuple[tuple[str, Mapping[str, Any]], ...]

    @property
    def is_server(self) -> bool:
        """Whether it is the span of a request that a service has received."""
        return self.kind == _SERVER

    @property
    def is_error(self) -> bool:
        """Whether its status is an error."""
        return self.status == _ERROR

    def first(self, *names: str) -> Any:
        """Return the first attribute of these names that exists, or None."""
        return next((self.attributes[name] for name in names if name in self.attributes), None)

    def __str__(self) -> str:
        attributes = " ".join(f"{name}={value!r}" for name, value in sorted(self.attributes.items()))
        return f"{self.name!r} kind={self.kind} status={self.status} parent={self.parent_id} {attributes}"


def decode(body: bytes, *, is_json: bool) -> list[Span]:
    """Return the spans of a request.

    Args:
        body: The body, without compression.
        is_json: Whether it is JSON.

    Raises:
        DecodeError: It is malformed.
    """
    try:
        return list(_of_json(json.loads(body)) if is_json else _of_protobuf(body))
    except (WireError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DecodeError(f"the request of the exporter cannot be read: {error!r}") from error


def _inner(data: bytes, number_of_field: int) -> Iterator[bytes]:
    return (message(value) for field, value in fields(data) if field == number_of_field)


def _of_protobuf(body: bytes) -> Iterator[Span]:
    for resource_spans in _inner(body, 1):
        for scope_spans in _inner(resource_spans, 2):
            yield from map(_span, _inner(scope_spans, 2))


def _span(data: bytes) -> Span:
    found: dict[int, int | bytes] = {}
    attributes: dict[str, Any] = {}
    events = []
    for field, value in fields(data):
        if field == 9:
            attributes |= [_attribute(message(value))]
        elif field == 11:
            events.append(_event(message(value)))
        else:
            found[field] = value
    status = dict(fields(message(found.get(15, b""))))
    return Span(
        message(found.get(1, b"")).hex(),
        message(found.get(2, b"")).hex(),
        message(found.get(4, b"")).hex(),
        text(found.get(5, b"")),
        number(found.get(6, 0)),
        attributes,
        number(status.get(3, 0)),
        text(status.get(2, b"")),
        tuple(events),
    )


def _event(data: bytes) -> tuple[str, Mapping[str, Any]]:
    name = b"".join(_inner(data, 2)).decode("utf-8", "replace")
    return name, dict(_attribute(each) for each in _inner(data, 3))


def _attribute(data: bytes) -> tuple[str, Any]:
    found = dict(fields(data))
    return text(found.get(1, b"")), _any_value(message(found.get(2, b"")))


def _any_value(data: bytes) -> Any:
    readers: dict[int, Callable[[int | bytes], Any]] = {
        1: text,
        2: lambda value: bool(number(value)),
        3: signed,
        4: double,
        5: lambda value: [_any_value(each) for each in _inner(message(value), 1)],
        6: lambda value: dict(_attribute(each) for each in _inner(message(value), 1)),
        7: message,
    }
    for field, value in fields(data):
        if field in readers:
            return readers[field](value)
    return None


def _of_json(document: Any) -> Iterator[Span]:
    for resource_spans in document.get("resourceSpans", ()):
        for scope_spans in resource_spans.get("scopeSpans", ()):
            for span in scope_spans.get("spans", ()):
                status = span.get("status") or {}
                kind, code = span.get("kind", 0), status.get("code", 0)
                yield Span(
                    span["traceId"].lower(),
                    span["spanId"].lower(),
                    (span.get("parentSpanId") or "").lower(),
                    span["name"],
                    _KINDS.get(kind, 0) if isinstance(kind, str) else kind,
                    _json_attributes(span),
                    _CODES.get(code, 0) if isinstance(code, str) else code,
                    status.get("message", ""),
                    tuple((event["name"], _json_attributes(event)) for event in span.get("events", ())),
                )


def _json_attributes(owner: Any) -> dict[str, Any]:
    return {pair["key"]: _json_value(pair.get("value") or {}) for pair in owner.get("attributes", ())}


def _json_value(value: Any) -> Any:
    for kind, content in value.items():
        if kind == "intValue":
            return int(content)
        if kind == "arrayValue":
            return [_json_value(each) for each in content.get("values", ())]
        if kind == "kvlistValue":
            return {pair["key"]: _json_value(pair.get("value") or {}) for pair in content.get("values", ())}
        return content
    return None
