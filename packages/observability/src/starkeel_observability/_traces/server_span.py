"""Server spans of requests: attributes, and a fast encoding that reuses the parts that requests share."""

from collections.abc import Iterable
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue
from starkeel_asgi import Exchange

from .._logs.sanitize import encodable, mask
from .._request.labels import OTHER, Key
from .._request.request import (
    LONGEST_HEADER,
    LONGEST_PATH,
    began_unix_ns,
    host_of,
    is_plain,
    method_label,
    path_of,
    target_of,
    user_agent,
)
from .otlp_encoding import (
    NO_STATUS,
    encode_attributes,
    encode_flags,
    encode_name,
    encode_span,
    encode_varint,
    nest,
)
from .span import RecordedSpan, SpanOutput

if TYPE_CHECKING:
    from .._request.request_record import RequestRecord

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_HEAD: Final = Struct("<2s16s2s8sBQBQ").pack
_TRACE_ID, _SPAN_ID, _START, _END = b"\x0a\x10", b"\x12\x08", 0x39, 0x41


class ServerSpan(RecordedSpan):
    """The span of a request, whose attributes are built only if they are read or changed.

    Args:
        ids: Trace id, 16 bytes, and span id, 8 bytes.
    """

    kind = SpanKind.SERVER
    name = ""
    start_ns = 0
    """0 until the span has ended."""
    _key: Key | None = None
    _attributes: dict[str, Any] | None = None

    def __init__(self, output: SpanOutput, request: Exchange, ids: bytes) -> None:
        self.output = output
        self.request = request
        self.ids = ids

    @property
    def attributes(self) -> dict[str, Any]:
        """Current attributes, built on first access."""
        made = self._attributes
        if made is None:
            self.is_modified = True
            made = self._attributes = request_attributes(self.request)
            if self._key is not None:
                made.update(response_attributes(self._key, self.request.client))
        return made

    def end(self, end_time: int | None = None) -> None:
        """End the span early, before its request has ended."""
        self.start_ns = self.start_ns or began_unix_ns(self.request)
        super().end(end_time)

    def complete(self, key: Key, error_type: str | None, times: tuple[int, int]) -> bool:
        """Set the outcome and end the span; `export` passes it to its output.

        Args:
            key: Method, route and status.
            error_type: Type of the error, for a failure of the service.
            times: Start and end of the request, in nanoseconds since 1970.

        Returns:
            False if the span had ended before.
        """
        if self.end_ns:
            return False
        if error_type is None and not self.is_modified and key[0] != OTHER:
            self._key = key
            self.name = span_name(key[0], key[1])
        else:
            self._complete(key, error_type)
        self.start_ns, self.end_ns = times
        return True

    def _complete(self, key: Key, error_type: str | None) -> None:
        method, route, _ = key
        if route is not None or not self.name:
            self.name = span_name(method, route)
        self.attributes.update(response_attributes(key, self.request.client))
        if error_type is not None:
            self.attributes["error.type"] = error_type
            self.set_status(StatusCode.ERROR)

    def export(self) -> None:
        self.output.on_end(self)

    def encode(self) -> bytes:
        key, request = self._key, self.request
        if key is None:
            return encode_span(self)
        facts, headers = request.facts, request.headers
        path, peer = facts[1], facts[3]
        shared = encode_shared(
            key, headers.get(b"host"), target_of(request), is_parent_remote=self.is_parent_remote
        )
        if self.parent:
            shared += b"\x22\x08" + self.parent
        client = encode_client(peer and peer[0], headers.get(b"user-agent"))
        ids = self.ids
        head = _HEAD(_TRACE_ID, ids[:16], _SPAN_ID, ids[16:], _START, self.start_ns, _END, self.end_ns)
        return _message(head, shared, client, path if is_plain(path) else clean_path(path))


def encode_ended(span: RecordedSpan) -> bytes:
    """Encode a span that has ended as an OTLP message."""
    return span.encode() if isinstance(span, ServerSpan) else encode_span(span)


def encode_records(records: "Iterable[RequestRecord]", offset_ns: int) -> list[bytes]:
    """Encode the spans of requests for which no span object exists.

    Args:
        records: Requests; their paths are redacted.
        offset_ns: Offset from `perf_counter_ns()` to Unix time.
    """
    return [
        _message(
            _HEAD(_TRACE_ID, ids[:16], _SPAN_ID, ids[16:], _START, start + offset_ns, _END, end + offset_ns),
            template.span,
            client.span,
            path,
        )
        for template, client, path, start, end, _, ids, _, _ in records
    ]


def _message(head: bytes, shared: bytes, client: bytes, path: str) -> bytes:
    encoded_path = path.encode()
    size = len(encoded_path)
    path_prefix = _PATH_PREFIXES[size] if size < _MOST_PATH_PREFIXES else _path_prefix(size)
    body = b"".join((head, shared, client, path_prefix, encoded_path))
    size = len(body)
    return _SPAN_PREFIXES[size] + body if size < _MOST_SPAN_PREFIXES else nest(b"\x12", body)


def clean_path(path: str) -> str:
    """Return a path redacted, shortened and encodable as UTF-8."""
    return encodable(mask(path[:LONGEST_PATH]))


def span_name(method: str, route: str | None) -> str:
    """Return the name of a request's span."""
    name = "HTTP" if method == OTHER else method
    return name if route is None else f"{name} {route}"


def request_attributes(request: Exchange) -> dict[str, AttributeValue]:
    """Return the attributes known when a request arrives."""
    attributes = _target(host_of(request), target_of(request))
    attributes["http.request.method"] = method_label(request)
    attributes["url.path"] = mask(path_of(request))
    if method_label(request) == OTHER:
        attributes["http.request.method_original"] = request.method[:64]
    if user_agent(request):
        attributes["user_agent.original"] = _agent(user_agent(request))
    return attributes


def response_attributes(key: Key, client: str | None) -> dict[str, AttributeValue]:
    """Return the attributes known when a request has ended."""
    _, route, status = key
    attributes: dict[str, AttributeValue] = {"http.response.status_code": status}
    if route is not None:
        attributes["http.route"] = route
    if client is not None:
        attributes["client.address"] = client
    return attributes


def _target(host: bytes, target: tuple[Any, ...]) -> dict[str, AttributeValue]:
    scheme, version, server = target
    scheme = scheme or "http"
    attributes: dict[str, AttributeValue] = {
        "url.scheme": scheme,
        "network.protocol.version": version or "1.1",
    }
    # The Host header, else the address of the listening socket.
    address, port = _split(host.decode("latin-1")) if host else server or ("", None)
    if address:
        attributes["server.address"] = address
        attributes["server.port"] = port or _DEFAULT_PORTS.get(scheme, 80)
    return attributes


def _agent(agent: bytes) -> str:
    return mask(agent[:LONGEST_HEADER].decode("latin-1"))


def _split(host: str) -> tuple[str, int | None]:
    address, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        return host[:255], None
    return address[:255], int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else None


def encode_shared(
    key: Key, host: bytes | None, target: tuple[Any, ...], *, is_parent_remote: bool = False
) -> bytes:
    """Encode the fields that the spans of requests with the same key, Host header and target share."""
    return _encode_shared(key, (host or b"")[:LONGEST_HEADER], target, is_parent_remote)


@lru_cache(maxsize=1024)
def _encode_shared(key: Key, host: bytes, target: tuple[Any, ...], is_parent_remote: bool) -> bytes:
    method, route, _ = key
    attributes = {
        "http.request.method": method,
        **_target(host, target),
        **response_attributes(key, None),
    }
    name = encode_name(span_name(method, route), SpanKind.SERVER)
    return name + encode_attributes(attributes) + NO_STATUS + encode_flags(is_parent_remote=is_parent_remote)


def encode_client(address: str | None, agent: bytes | None) -> bytes:
    """Encode the attributes for a client: IP address and User-Agent header."""
    return _encode_client(address, (agent or b"")[:LONGEST_HEADER])


@lru_cache(maxsize=4096)
def _encode_client(address: str | None, agent: bytes) -> bytes:
    attributes = {"client.address": address} if address else {}
    if agent:
        attributes["user_agent.original"] = _agent(agent)
    return encode_attributes(attributes)


def _path_prefix(size: int) -> bytes:
    """Return the encoded `url.path` attribute up to a value of the given number of bytes."""
    return encode_attributes({"url.path": "x" * size}).removesuffix(b"x" * size)


_MOST_PATH_PREFIXES: Final = 100
_PATH_PREFIXES: Final = tuple(map(_path_prefix, range(_MOST_PATH_PREFIXES)))
_MOST_SPAN_PREFIXES: Final = 1024
_SPAN_PREFIXES: Final = tuple(b"\x12" + encode_varint(size) for size in range(_MOST_SPAN_PREFIXES))
"""Encoded tag and length of a span, by the number of bytes of its body."""
