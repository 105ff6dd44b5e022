"""Attributes of the spans of requests, and an encoding that reuses the parts that requests share."""

from collections.abc import Iterable
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from .._logs.sanitize import encodable, mask
from .._request.request import (
    LONGEST_HEADER,
    LONGEST_PATH,
    OTHER,
    Key,
    RequestRecord,
    method_label,
    target_of,
)
from .otlp_encoding import (
    LOCAL_PARENT,
    NO_STATUS,
    REMOTE_PARENT,
    encode_attributes,
    encode_name,
    encode_varint,
    nest,
)

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_HEAD: Final = Struct("<2s16s2s8sBQBQ").pack
_TRACE_ID, _SPAN_ID, _START, _END = b"\x0a\x10", b"\x12\x08", 0x39, 0x41

Peer = tuple[str, int] | None


def span_name(method: str, route: str | None) -> str:
    """Return the name of a request's span."""
    name = "HTTP" if method == OTHER else method
    return name if route is None else f"{name} {route}"


def request_attributes(facts: tuple[Any, ...], headers: dict[bytes, bytes]) -> dict[str, AttributeValue]:
    """Return the attributes known when a request arrives, given facts and headers of its exchange."""
    method, path = facts[:2]
    attributes = _target(headers.get(b"host", b""), target_of(facts))
    attributes["http.request.method"] = method_label(method)
    attributes["url.path"] = mask(path[:LONGEST_PATH])
    if method_label(method) == OTHER:
        attributes["http.request.method_original"] = method[:64]
    if agent := headers.get(b"user-agent"):
        attributes["user_agent.original"] = _agent(agent)
    return attributes


def response_attributes(key: Key, peer: Peer) -> dict[str, AttributeValue]:
    """Return the attributes known when a request has ended."""
    _, route, status = key
    attributes: dict[str, AttributeValue] = {"http.response.status_code": status}
    if route is not None:
        attributes["http.route"] = route
    if peer:
        attributes["client.address"] = peer[0]
    return attributes


def clean_path(path: str) -> str:
    """Return a path redacted, shortened and encodable as UTF-8."""
    return encodable(mask(path[:LONGEST_PATH]))


def encode_records(records: Iterable[RequestRecord], offset_ns: int) -> list[bytes]:
    """Encode the spans of requests with redacted paths; `offset_ns` is that of `clock_offset_ns`."""
    return [
        encode_message(ids, start + offset_ns, end + offset_ns, template.span, client.span, path)
        for template, client, path, start, end, _, ids, _, _ in records
    ]


def encode_message(ids: bytes, start_ns: int, end_ns: int, shared: bytes, client: bytes, path: str) -> bytes:
    """Encode a span with the results of `encode_shared` and `encode_client`, and a redacted path."""
    head = _HEAD(_TRACE_ID, ids[:16], _SPAN_ID, ids[16:], _START, start_ns, _END, end_ns)
    encoded = path.encode()
    try:
        body = b"".join((head, shared, client, _PATH_PREFIXES[len(encoded)], encoded))
    except IndexError:
        body = b"".join((head, shared, client, _path_prefix(len(encoded)), encoded))
    try:
        return _SPAN_PREFIXES[len(body)] + body
    except IndexError:
        return nest(b"\x12", body)


@lru_cache(maxsize=1024)
def encode_shared(key: Key, host: bytes, target: tuple[Any, ...], *, is_parent_remote: bool = False) -> bytes:
    """Encode the fields that the spans of requests with the same key, Host header and target share.

    The results are cached: the header must be cut to `LONGEST_HEADER`, as for `encode_client`.
    """
    method, route, _ = key
    attributes = {"http.request.method": method, **_target(host, target), **response_attributes(key, None)}
    name = encode_name(span_name(method, route), SpanKind.SERVER)
    parent = REMOTE_PARENT if is_parent_remote else LOCAL_PARENT
    return name + encode_attributes(attributes) + NO_STATUS + parent


@lru_cache(maxsize=4096)
def encode_client(address: str | None, agent: bytes) -> bytes:
    """Encode the attributes for a client: IP address and User-Agent header."""
    attributes = {"client.address": address} if address else {}
    if agent:
        attributes["user_agent.original"] = _agent(agent)
    return encode_attributes(attributes)


def _target(host: bytes, target: tuple[Any, ...]) -> dict[str, AttributeValue]:
    scheme, version, server = target
    scheme = scheme or "http"
    attributes: dict[str, AttributeValue] = {
        "url.scheme": scheme,
        # Granian reports HTTP/1.0 as "1", which OpenTelemetry's conventions do not.
        "network.protocol.version": "1.0" if version == "1" else version or "1.1",
    }
    # The Host header, else the address of the listening socket.
    address, port = _split(host.decode("latin-1")) if host else server or ("", None)
    if address:
        attributes["server.address"] = address
        attributes["server.port"] = port or _DEFAULT_PORTS.get(scheme, 80)
    return attributes


def _split(host: str) -> tuple[str, int | None]:
    address, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        return host[:255], None
    return address[:255], int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else None


def _agent(agent: bytes) -> str:
    return mask(agent[:LONGEST_HEADER].decode("latin-1"))


def _path_prefix(size: int) -> bytes:
    """Return the encoded `url.path` attribute up to a value of the given number of bytes."""
    return encode_attributes({"url.path": "x" * size}).removesuffix(b"x" * size)


_PATH_PREFIXES: Final = tuple(map(_path_prefix, range(100)))
_SPAN_PREFIXES: Final = tuple(b"\x12" + encode_varint(size) for size in range(1024))
"""Encoded tag and length of a span, by the number of bytes of its body."""
