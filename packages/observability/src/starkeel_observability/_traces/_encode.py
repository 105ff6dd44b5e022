"""Spans as OTLP's protobuf messages, written down directly.

The numbers are those of `opentelemetry/proto/trace/v1/trace.proto` and `common/v1/common.proto`: a field's
number times eight, plus how its value is written.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Link, SpanKind, TraceState

if TYPE_CHECKING:
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
NO_STATUS: Final = b"\x7a\x00"
_INT64: Final = 1 << 63
_scope_of: Final = itemgetter(0)
_encoded: Final = itemgetter(1)

_known: dict[tuple[str, str], bytes] = {}
"""Attributes that were written before: most spans say what others said, too."""
_known_numbers: dict[tuple[str, int], bytes] = {}
"""The same for whole numbers, apart: 1, 1.0 and True would be one key."""


def resource(attributes: Mapping[str, Any]) -> bytes:
    """A resource, to be given to `request`."""
    return nested(b"\x0a", b"".join([_pair(b"\x0a", name, value) for name, value in attributes.items()]))


def request(spans: "Iterable[tuple[Scope, bytes]]", of: bytes) -> bytes:
    """A request to take spans.

    Args:
        spans: Who made them, and what `span` gave.
        of: What `resource` gave.
    """
    scopes: defaultdict[Scope, list[bytes]] = defaultdict(list)
    # Many in a row are of one.
    for scope, row in groupby(spans, _scope_of):
        scopes[scope] += map(_encoded, row)
    # Joined once: to write so much once more for each message around it takes as long as to make it.
    parts = [of]
    for scope, made in scopes.items():
        body = [_scope(scope), *made, _url(scope)]
        parts += [b"\x12" + _length(body), *body]
    return b"".join([b"\x0a" + _length(parts), *parts])


def _length(parts: list[bytes]) -> bytes:
    return _varint(sum(map(len, parts)))


def _scope(scope: "Scope") -> bytes:
    body = _text(b"\x0a", scope.name) + _text(b"\x12", scope.version)
    body += b"".join([_pair(b"\x1a", name, value) for name, value in scope.attributes.items()])
    return nested(b"\x0a", body)


def _url(scope: "Scope") -> bytes:
    return _text(b"\x1a", scope.schema_url)


def span(ended: "RecordedSpan") -> bytes:
    """A span that has ended, to be given to `request`."""
    parts = [b"\x0a\x10", ended.ids[:16], b"\x12\x08", ended.ids[16:]]
    if ended.trace_state:
        parts.append(_text(b"\x1a", _state(ended.trace_state)))
    if ended.parent:
        parts += (b"\x22\x08", ended.parent)
    parts += (named(ended.name, ended.kind), _TIMES(0x39, ended.start_ns, 0x41, ended.end_ns))
    known, numbers = _known, _known_numbers
    for name, value in ended.attributes.items():
        kind = type(value)
        found = known.get((name, value)) if kind is str else None
        if kind is int:
            found = numbers.get((name, value))
        parts.append(_attribute(name, value) if found is None else found)
    if ended.dropped or ended.events or ended.dropped_events or ended.links or ended.dropped_links:
        parts.append(_rest(ended))
    parts += (_status(ended), parented(is_remote=ended.is_parent_remote))
    return nested(b"\x12", b"".join(parts))


def named(name: str, kind: SpanKind) -> bytes:
    """A span's name and kind."""
    return _text(b"\x2a", name) + b"\x30" + _LENGTHS[kind.value + 1]


def attributed(attributes: Mapping[str, Any]) -> bytes:
    """A span's attributes."""
    return _pairs(b"\x4a", attributes)


def parented(*, is_remote: bool) -> bytes:
    """Whether a span's parent is in another process."""
    return _REMOTE_PARENT if is_remote else _LOCAL_PARENT


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


def _rest(span: "RecordedSpan") -> bytes:
    parts = [_number(b"\x50", span.dropped)]
    for at, name, attributes, dropped in span.events or ():
        body = b"\x09" + _FIXED64(at) + _text(b"\x12", name) + _pairs(b"\x1a", attributes)
        parts.append(nested(b"\x5a", body + _number(b"\x20", dropped)))
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
    return nested(b"\x6a", body + b"\x35" + _FIXED32(0x300 if context.is_remote else 0x100))


def _status(span: "RecordedSpan") -> bytes:
    code = span.status.value
    if not code:
        return NO_STATUS
    return nested(b"\x7a", _text(b"\x12", span.description or "") + b"\x18" + _LENGTHS[code])


def _state(state: TraceState) -> str:
    return ",".join(f"{name}={value}" for name, value in state.items())


def _pairs(tag: bytes, attributes: Mapping[str, Any]) -> bytes:
    return b"".join([_pair(tag, name, value) for name, value in attributes.items()])


def _pair(tag: bytes, name: str, value: Any) -> bytes:
    return nested(tag, _text(b"\x0a", name) + nested(b"\x12", _value(value)))


def _value(value: Any) -> bytes:
    if isinstance(value, str):
        # Said even when it is empty: it is which kind of value this is.
        return nested(b"\x0a", utf8(value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        if not -_INT64 <= value < _INT64:
            return _value(str(value))
        return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
    if isinstance(value, float):
        return b"\x21" + _DOUBLE(value)
    if isinstance(value, bytes):
        return nested(b"\x3a", value)
    return _composed(value)


def _composed(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, Mapping):
        return nested(b"\x32", b"".join([_pair(b"\x0a", str(name), item) for name, item in value.items()]))
    if isinstance(value, Iterable):
        return nested(b"\x2a", b"".join([nested(b"\x0a", _value(item)) for item in value]))
    return _value(str(value))


def _text(tag: bytes, text: str) -> bytes:
    return nested(tag, utf8(text)) if text else b""


def utf8(text: str) -> bytes:
    """A text as bytes; halves of characters, which UTF-8 has none for, are written out."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def _number(tag: bytes, number: int) -> bytes:
    return tag + _varint(number) if number else b""


def nested(tag: bytes, body: bytes) -> bytes:
    """A message in a message."""
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
