"""Encoding of spans as OTLP protobuf messages.

A tag is the field number, from `opentelemetry/proto/trace/v1/trace.proto` or `common/v1/common.proto`, times
eight plus the wire type.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from struct import Struct
from typing import Any, Final

from opentelemetry.trace import Link, SpanKind

from .span import InstrumentationScope, RecordedSpan

_TIMES: Final = Struct("<BQBQ").pack
_FIXED64: Final = Struct("<Q").pack
_FIXED32: Final = Struct("<I").pack
_DOUBLE: Final = Struct("<d").pack
_ONE_BYTE: Final = tuple(bytes([number]) for number in range(128))
_CACHED_LENGTH: Final = 512
LOCAL_PARENT: Final = b"\x85\x01" + _FIXED32(0x100)
REMOTE_PARENT: Final = b"\x85\x01" + _FIXED32(0x300)
NO_STATUS: Final = b"\x7a\x00"
_INT64: Final = 1 << 63
_scope_of: Final = itemgetter(0)
_encoded: Final = itemgetter(1)


def encode_resource(attributes: Mapping[str, Any]) -> bytes:
    """Encode a resource, for `encode_request`."""
    return nest(b"\x0a", _pairs(b"\x0a", attributes))


def encode_request(spans: Iterable[tuple[InstrumentationScope, bytes]], resource: bytes) -> bytes:
    """Encode an `ExportTraceServiceRequest`.

    Args:
        spans: Instrumentation scope and result of `encode_span`, per span.
        resource: Result of `encode_resource`.
    """
    scopes: defaultdict[InstrumentationScope, list[bytes]] = defaultdict(list)
    # Consecutive spans mostly have the same scope.
    for scope, row in groupby(spans, _scope_of):
        scopes[scope] += map(_encoded, row)
    # Joined once: copying the body for each enclosing message takes as long as encoding it.
    parts = [resource]
    for scope, made in scopes.items():
        body = [_scope(scope), *made, _text(b"\x1a", scope.schema_url)]
        parts += [b"\x12" + _length(body), *body]
    return b"".join([b"\x0a" + _length(parts), *parts])


def _length(parts: list[bytes]) -> bytes:
    return encode_varint(sum(map(len, parts)))


def _scope(scope: InstrumentationScope) -> bytes:
    body = _text(b"\x0a", scope.name) + _text(b"\x12", scope.version)
    return nest(b"\x0a", body + _pairs(b"\x1a", scope.attributes or {}))


def encode_span(span: RecordedSpan) -> bytes:
    """Encode a span that has ended, for `encode_request`."""
    parts = [b"\x0a\x10", span.ids[:16], b"\x12\x08", span.ids[16:]]
    if span.trace_state:
        parts.append(_text(b"\x1a", span.trace_state.to_header()))
    if span.parent:
        parts += (b"\x22\x08", span.parent)
    parts += (encode_name(span.name, span.kind), _TIMES(0x39, span.start_ns, 0x41, span.end_ns))
    for name, value in span.attributes.items():
        kind = type(value)
        is_cached = kind is int or (kind is str and len(value) <= _CACHED_LENGTH)
        parts.append(_cached_attribute(name, value) if is_cached else _pair(b"\x4a", name, value))
    if span.dropped or span.events or span.dropped_events or span.links or span.dropped_links:
        parts.append(_rare_fields(span))
    parts += (_status(span), REMOTE_PARENT if span.is_parent_remote else LOCAL_PARENT)
    return nest(b"\x12", b"".join(parts))


def encode_name(name: str, kind: SpanKind) -> bytes:
    """Encode a span's name and kind."""
    return _text(b"\x2a", name) + b"\x30" + _ONE_BYTE[kind.value + 1]


def encode_attributes(attributes: Mapping[str, Any]) -> bytes:
    """Encode a span's attributes."""
    return _pairs(b"\x4a", attributes)


@lru_cache(maxsize=4096)
def _cached_attribute(name: str, value: str | int) -> bytes:
    """Encode an attribute; most spans have the same ones as earlier spans."""
    return _pair(b"\x4a", name, value)


def _rare_fields(span: RecordedSpan) -> bytes:
    parts = [_number(b"\x50", span.dropped)]
    for at_ns, name, attributes, dropped in span.events or ():
        body = b"\x09" + _FIXED64(at_ns) + _text(b"\x12", name) + _pairs(b"\x1a", attributes)
        parts.append(nest(b"\x5a", body + _number(b"\x20", dropped)))
    parts.append(_number(b"\x60", span.dropped_events))
    parts += [_link(link) for link in span.links or ()]
    parts.append(_number(b"\x70", span.dropped_links))
    return b"".join(parts)


def _link(link: Link) -> bytes:
    context = link.context
    body = b"\x0a\x10" + context.trace_id.to_bytes(16, "big")
    body += b"\x12\x08" + context.span_id.to_bytes(8, "big")
    body += _pairs(b"\x22", link.attributes or {})
    return nest(b"\x6a", body + b"\x35" + _FIXED32(0x300 if context.is_remote else 0x100))


def _status(span: RecordedSpan) -> bytes:
    code = span.status.value
    if not code:
        return NO_STATUS
    return nest(b"\x7a", _text(b"\x12", span.description or "") + b"\x18" + _ONE_BYTE[code])


def _pairs(tag: bytes, attributes: Mapping[str, Any]) -> bytes:
    return b"".join([_pair(tag, name, value) for name, value in attributes.items()])


def _pair(tag: bytes, name: str, value: Any) -> bytes:
    return nest(tag, _text(b"\x0a", name) + nest(b"\x12", _value(value)))


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        # Encoded even if empty: a member of a oneof has presence.
        return nest(b"\x0a", _utf8(value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            return _value(str(value))
        return b"\x18" + encode_varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    if isinstance(value, float):
        return b"\x21" + _DOUBLE(value)
    if isinstance(value, bytes):
        return nest(b"\x3a", value)
    return _composite(value)


def _composite(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, Mapping):
        return nest(b"\x32", b"".join([_pair(b"\x0a", str(name), item) for name, item in value.items()]))
    if isinstance(value, Iterable):
        return nest(b"\x2a", b"".join([nest(b"\x0a", _value(item)) for item in value]))
    return _value(str(value))


def _text(tag: bytes, text: str) -> bytes:
    return nest(tag, _utf8(text)) if text else b""


def _utf8(text: str) -> bytes:
    """Encode a text as UTF-8; lone surrogates, which have no encoding, are escaped."""
    return text.encode("utf-8", "backslashreplace")


def _number(tag: bytes, number: int) -> bytes:
    return tag + encode_varint(number) if number else b""


def nest(tag: bytes, body: bytes) -> bytes:
    """Encode a length-delimited field."""
    return tag + encode_varint(len(body)) + body


def encode_varint(number: int) -> bytes:
    if number < 128:
        return _ONE_BYTE[number]
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)
