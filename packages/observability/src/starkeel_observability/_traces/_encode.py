"""Spans as OTLP's protobuf messages, written down directly.

The numbers are those of `opentelemetry/proto/trace/v1/trace.proto` and `common/v1/common.proto`: a field's
number times eight, plus how its value is written.
"""

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, Final

from opentelemetry.trace import Link, TraceState

from ._recorded import RecordedSpan, Scope

_TIMES: Final = Struct("<BQBQ").pack
_FIXED64: Final = Struct("<Q").pack
_FIXED32: Final = Struct("<I").pack
_DOUBLE: Final = Struct("<d").pack
_LENGTHS: Final = tuple(bytes([number]) for number in range(128))
_MOST_KNOWN: Final = 4096
_LONGEST_KNOWN: Final = 96
_LOCAL_PARENT: Final = b"\x85\x01" + _FIXED32(0x100)
_REMOTE_PARENT: Final = b"\x85\x01" + _FIXED32(0x300)
_NO_STATUS: Final = b"\x7a\x00"
_INT64: Final = 1 << 63

_known: dict[tuple[str, str], bytes] = {}
"""Attributes that were written before: most spans say what others said, too."""
_known_numbers: dict[tuple[str, int], bytes] = {}
"""The same for whole numbers, apart: 1, 1.0 and True would be one key."""


def resource(attributes: Mapping[str, Any]) -> bytes:
    """A resource, to be given to `request`."""
    return _nested(b"\x0a", b"".join([_pair(b"\x0a", name, value) for name, value in attributes.items()]))


def request(spans: Sequence[RecordedSpan], of: bytes) -> bytes:
    """A request to take spans.

    Args:
        spans: That have ended.
        of: What `resource` gave.
    """
    scopes: dict[Scope, list[bytes]] = {}
    for span in spans:
        encoded = _span(span)
        scopes.setdefault(span.scope, []).append(b"\x12" + _varint(len(encoded)) + encoded)
    bodies = [
        _nested(b"\x12", _scope(scope) + b"".join(made) + _url(scope)) for scope, made in scopes.items()
    ]
    return _nested(b"\x0a", of + b"".join(bodies))


def _scope(scope: Scope) -> bytes:
    body = _text(b"\x0a", scope.name) + _text(b"\x12", scope.version)
    body += b"".join([_pair(b"\x1a", name, value) for name, value in scope.attributes.items()])
    return _nested(b"\x0a", body)


def _url(scope: Scope) -> bytes:
    return _text(b"\x1a", scope.schema_url)


def _span(span: RecordedSpan) -> bytes:
    parts = [b"\x0a\x10", span.trace_id.to_bytes(16, "big"), b"\x12\x08", span.span_id.to_bytes(8, "big")]
    if span.trace_state:
        parts.append(_text(b"\x1a", _state(span.trace_state)))
    if span.parent_id:
        parts += (b"\x22\x08", span.parent_id.to_bytes(8, "big"))
    parts += (
        _text(b"\x2a", span.name),
        b"\x30",
        _LENGTHS[span.kind.value + 1],
        _TIMES(0x39, span.start_ns, 0x41, span.end_ns),
    )
    known, numbers = _known, _known_numbers
    for name, value in span.attributes.items():
        kind = type(value)
        found = known.get((name, value)) if kind is str else None
        if kind is int:
            found = numbers.get((name, value))
        parts.append(_attribute(name, value) if found is None else found)
    if span.dropped or span.events or span.dropped_events or span.links or span.dropped_links:
        parts.append(_rest(span))
    parts += (_status(span), _REMOTE_PARENT if span.is_parent_remote else _LOCAL_PARENT)
    return b"".join(parts)


def _attribute(name: str, value: Any) -> bytes:
    encoded = _pair(b"\x4a", name, value)
    if type(value) is str and len(value) <= _LONGEST_KNOWN:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[name, value] = encoded
    elif type(value) is int:
        if len(_known_numbers) >= _MOST_KNOWN:
            _known_numbers.clear()
        _known_numbers[name, value] = encoded
    return encoded


def _rest(span: RecordedSpan) -> bytes:
    parts = [_number(b"\x50", span.dropped)]
    for at, name, attributes, dropped in span.events or ():
        body = b"\x09" + _FIXED64(at) + _text(b"\x12", name) + _pairs(b"\x1a", attributes)
        parts.append(_nested(b"\x5a", body + _number(b"\x20", dropped)))
    parts.append(_number(b"\x60", span.dropped_events))
    parts += [_link(link) for link in span.links or ()]
    parts.append(_number(b"\x70", span.dropped_links))
    return b"".join(parts)


def _link(link: Link) -> bytes:
    context = link.context
    body = (
        b"\x0a\x10" + context.trace_id.to_bytes(16, "big") + b"\x12\x08" + context.span_id.to_bytes(8, "big")
    )
    body += _pairs(b"\x22", link.attributes or {})
    return _nested(b"\x6a", body + b"\x35" + _FIXED32(0x300 if context.is_remote else 0x100))


def _status(span: RecordedSpan) -> bytes:
    code = span.status.value
    if not code:
        return _NO_STATUS
    return _nested(b"\x7a", _text(b"\x12", span.description or "") + b"\x18" + _LENGTHS[code])


def _state(state: TraceState) -> str:
    return ",".join(f"{name}={value}" for name, value in state.items())


def _pairs(tag: bytes, attributes: Mapping[str, Any]) -> bytes:
    return b"".join([_pair(tag, name, value) for name, value in attributes.items()])


def _pair(tag: bytes, name: str, value: Any) -> bytes:
    return _nested(tag, _text(b"\x0a", name) + _nested(b"\x12", _value(value)))


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        # Said even when it is empty: it is which kind of value this is.
        return _nested(b"\x0a", _utf8(value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            return _value(str(value))
        return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    if isinstance(value, float):
        return b"\x21" + _DOUBLE(value)
    if isinstance(value, bytes):
        return _nested(b"\x3a", value)
    return _composed(value)


def _composed(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, Mapping):
        return _nested(b"\x32", b"".join([_pair(b"\x0a", str(name), item) for name, item in value.items()]))
    if isinstance(value, Iterable):
        return _nested(b"\x2a", b"".join([_nested(b"\x0a", _value(item)) for item in value]))
    return _value(str(value))


def _text(tag: bytes, text: str) -> bytes:
    return _nested(tag, _utf8(text)) if text else b""


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def _number(tag: bytes, number: int) -> bytes:
    return tag + _varint(number) if number else b""


def _nested(tag: bytes, body: bytes) -> bytes:
    return tag + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    if number < 128:
        return _LENGTHS[number]
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)
