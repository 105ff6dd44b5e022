"""Spans of an OTLP request."""

import sys
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from .._store.records import KINDS, SERVER, SpanRecord
from .values import MAX_ATTRIBUTES, attributes, service_name, shorten

_MAX_NAME: Final = 300
_MAX_PLAIN_BYTES: Final = 8192
_MAX_SHORTENED: Final = 4096
_MAX_RAW_BYTES: Final = 262_144
_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_READ: Final = frozenset(
    (
        *(
            "http.response.status_code",
            "http.status_code",
            "http.request.method",
            "http.method",
            "http.route",
        ),
        *("db.query.text", "db.statement", "db.query.summary", "starkeel.is_stream"),
        *("url.path", "http.target"),
    )
)


class SpanEvent(msgspec.Struct, frozen=True):
    """Event of a span."""

    name: str
    time_ns: int
    attributes: dict[str, Any]


class SpanDetails(msgspec.Struct, frozen=True):
    """Content of a span beside its record."""

    attributes: dict[str, Any]
    events: list[SpanEvent]
    links: list[str]
    """Ids of linked traces."""
    message: str
    """Message of its status."""


def count_spans(request: ExportTraceServiceRequest) -> int:
    """Return the number of spans of a request."""
    return sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)


def read_spans(request: ExportTraceServiceRequest) -> Iterator[SpanRecord]:
    """Yield the spans of a request; those without valid ids are left out."""
    for resource in request.resource_spans:
        service = sys.intern(service_name(resource.resource.attributes))
        for scope in resource.scope_spans:
            for span in scope.spans:
                if len(span.trace_id) == _TRACE_ID_BYTES and len(span.span_id) == _SPAN_ID_BYTES:
                    yield _record(span, service)


def _record(span: Span, service: str) -> SpanRecord:
    read = {pair.key: pair.value for pair in span.attributes if pair.key in _READ}
    raw = span.SerializeToString()
    if len(raw) > _MAX_PLAIN_BYTES:
        raw = _shortened(span).SerializeToString()
    name = shorten(span.name, _MAX_NAME)
    return SpanRecord(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_id=span.parent_span_id,
        service=service,
        name=name,
        kind=span.kind if 0 <= span.kind < len(KINDS) else 0,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        is_failed=span.status.code == Status.STATUS_CODE_ERROR,
        status=_integer(read, "http.response.status_code", "http.status_code"),
        route=_route(read, name),
        path=_text(read, "url.path", "http.target")[:200] if span.kind == SERVER else "",
        statement=_text(read, "db.query.text", "db.statement", "db.query.summary"),
        is_stream="starkeel.is_stream" in read,
        raw=raw,
    )


def _route(read: dict[str, AnyValue], name: str) -> str:
    method, route = _text(read, "http.request.method", "http.method"), _text(read, "http.route")
    return sys.intern(f"{method} {route}" if method and route else name)


def _text(read: dict[str, AnyValue], *names: str) -> str:
    for name in names:
        if name in read and read[name].string_value:
            return shorten(read[name].string_value, 2000)
    return ""


def _integer(read: dict[str, AnyValue], *names: str) -> int:
    for name in names:
        if name in read:
            value = read[name]
            # Some SDKs send it as a text.
            text = value.string_value or str(value.int_value)
            return int(text) if text.isascii() and text.isdigit() and len(text) <= 3 else 0
    return 0


def _shortened(span: Span) -> Span:
    """Return a span with long values and large lists cut."""
    kept = Span()
    kept.CopyFrom(span)
    kept.name = shorten(kept.name, _MAX_NAME)
    for items in (kept.attributes, kept.events, kept.links):
        del items[MAX_ATTRIBUTES:]
    lists = [kept.attributes, *(event.attributes for event in kept.events)]
    for pairs in lists:
        for pair in pairs:
            pair.key = shorten(pair.key, _MAX_NAME)
            if pair.value.ByteSize() > _MAX_SHORTENED:
                text = pair.value.string_value or str(pair.value)[: 2 * _MAX_SHORTENED]
                pair.value.string_value = shorten(text, _MAX_SHORTENED)
    if kept.ByteSize() > _MAX_RAW_BYTES:
        del kept.events[:], kept.links[:]
    return kept


def span_details(record: SpanRecord) -> SpanDetails:
    """Return what a span contains beside its record."""
    span = Span.FromString(record.raw)
    return SpanDetails(
        attributes(span.attributes),
        [
            SpanEvent(shorten(event.name), event.time_unix_nano, attributes(event.attributes))
            for event in span.events
        ],
        [link.trace_id.hex() for link in span.links],
        shorten(span.status.message),
    )
