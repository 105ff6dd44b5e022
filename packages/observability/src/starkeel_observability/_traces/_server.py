"""The span of a request: what requests have in common is written once, and the rest put beside it."""

from collections.abc import Iterable
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from starkeel_observability._logs._clean import encodable
from starkeel_observability._logs._redact import masked
from starkeel_observability._metrics._http import OTHER, Key
from starkeel_observability._request import LONGEST_HEADER, LONGEST_PATH, Request, is_plain

from ._encode import NO_STATUS, attributed, named, nested, parented
from ._recorded import Origin, RecordedSpan

if TYPE_CHECKING:
    from starkeel_observability._report import Report

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_BEGIN: Final = Struct("<2s16s2s8sBQBQ").pack
_TRACE, _SPAN, _BEGAN, _ENDED = b"\x0a\x10", b"\x12\x08", 0x39, 0x41


class ServerSpan(RecordedSpan):
    """The span of a request.

    Args:
        origin: Who makes it, and who takes it when it ends.
        request: Of which it is.
        ids: Of its trace, 16 bytes, then its own, 8 bytes.
    """

    kind = SpanKind.SERVER
    name = ""
    start_ns = 0
    """Known once it has ended."""
    _key: Key | None = None
    _attributes: dict[str, Any] | None = None

    def __init__(self, origin: Origin, request: Request, ids: bytes) -> None:
        self.origin = origin
        self.request = request
        self.ids = ids

    @property
    def attributes(self) -> dict[str, Any]:
        """What is said about it so far; made when somebody has more to say, or asks."""
        made = self._attributes
        if made is None:
            self.is_touched = True
            made = self._attributes = asked(self.request)
            if self._key is not None:
                made.update(answered(self._key, self.request.client))
        return made

    def end(self, end_time: int | None = None) -> None:
        """As any span; whoever ends it does so before its request is over."""
        self.start_ns = self.start_ns or self.request.began_ns
        super().end(end_time)

    def complete(self, key: Key, error_type: str | None, times: tuple[int, int]) -> bool:
        """Say how the request ended, and end it; `finish` tells it. Whether it had not ended before.

        Args:
            key: What it was, and the status of the answer.
            error_type: What went wrong, when it is the service's fault.
            times: When the request began and when it was over, in nanoseconds since 1970.
        """
        if self.end_ns:
            return False
        if error_type is None and not self.is_touched and key[0] != OTHER:
            self._key = key
            self.name = name_of(key[0], key[1])
        else:
            self._complete(key, error_type)
        self.start_ns, self.end_ns = times
        return True

    def _complete(self, key: Key, error_type: str | None) -> None:
        method, route, _ = key
        if route is not None or not self.name:
            self.name = name_of(method, route)
        self.attributes.update(answered(key, self.request.client))
        if error_type is not None:
            self.attributes["error.type"] = error_type
            self.set_status(StatusCode.ERROR)

    def finish(self) -> None:
        """Have it sent, once it has ended."""
        self.origin.finished(self)

    def encoded(self) -> bytes:
        """It as OTLP's message, once it has ended."""
        key, request = self._key, self.request
        if key is None:
            return super().encoded()
        told, headers = request.told, request.headers
        peer, path = told[3], told[1]
        said = common(key, headers.get(b"host"), request.target, is_parent_remote=self.is_parent_remote)
        if self.parent:
            said += b"\x22\x08" + self.parent
        asker = client(peer and peer[0], headers.get(b"user-agent"))
        told_path = path if is_plain(path) else odd_path(path)
        ids = self.ids
        begin = _BEGIN(_TRACE, ids[:16], _SPAN, ids[16:], _BEGAN, self.start_ns, _ENDED, self.end_ns)
        return _message(begin, said, asker, told_path)


def encoded(reports: "Iterable[Report]", offset_ns: int) -> list[bytes]:
    """The spans of requests of which nothing more is said, as OTLP's messages.

    Args:
        reports: What is known of them; their paths as they may be told.
        offset_ns: What is added to their times to have nanoseconds since 1970.
    """
    return [
        _message(
            _BEGIN(_TRACE, ids[:16], _SPAN, ids[16:], _BEGAN, began + offset_ns, _ENDED, ended + offset_ns),
            kind.span,
            peer.span,
            path,
        )
        for kind, peer, path, began, ended, _, ids, _, _ in reports
    ]


def _message(begin: bytes, common: bytes, client: bytes, path: str) -> bytes:
    told = path.encode()
    size = len(told)
    before = _PATHS[size] if size < _MOST_PATHS else _path_of(size)
    body = b"".join((begin, common, client, before, told))
    size = len(body)
    return _HEADS[size] + body if size < _MOST_HEADS else nested(b"\x12", body)


def odd_path(path: str) -> str:
    """A path as it may be told that takes a closer look."""
    return encodable(masked(path[:LONGEST_PATH]))


def name_of(method: str, route: str | None) -> str:
    """What a span is called."""
    name = "HTTP" if method == OTHER else method
    return name if route is None else f"{name} {route}"


def asked(request: Request) -> dict[str, AttributeValue]:
    """What is known of a request before it is answered."""
    attributes = _target(request.host, request.target)
    attributes["http.request.method"] = request.method
    attributes["url.path"] = masked(request.path)
    if request.method == OTHER:
        attributes["http.request.method_original"] = request.method_sent[:64]
    if request.agent:
        attributes["user_agent.original"] = _agent(request.agent)
    return attributes


def answered(key: Key, client: str | None) -> dict[str, AttributeValue]:
    """What is known of a request once it is answered."""
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
    # What the client believes to talk to, else where we listen.
    address, port = _split(host.decode("latin-1")) if host else server or ("", None)
    if address:
        attributes["server.address"] = address
        attributes["server.port"] = port or _DEFAULT_PORTS.get(scheme, 80)
    return attributes


def _agent(agent: bytes) -> str:
    return masked(agent[:LONGEST_HEADER].decode("latin-1"))


def _split(host: str) -> tuple[str, int | None]:
    address, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        return host[:255], None
    return address[:255], int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else None


def common(key: Key, host: bytes | None, target: tuple[Any, ...], *, is_parent_remote: bool = False) -> bytes:
    """What the spans of all requests of one kind and outcome say.

    Args:
        key: What they were, and the status of the answer.
        host: Whom their clients believe to talk to.
        target: As a request's own.
        is_parent_remote: Whether what they belong to is in another process.
    """
    return _common(key, (host or b"")[:LONGEST_HEADER], target, is_parent_remote)


@lru_cache(maxsize=1024)
def _common(key: Key, host: bytes, target: tuple[Any, ...], is_parent_remote: bool) -> bytes:
    method, route, _ = key
    name = name_of(method, route)
    told = _target(host, target)
    attributes = attributed({"http.request.method": method, **told, **answered(key, None)})
    return named(name, SpanKind.SERVER) + attributes + NO_STATUS + parented(is_remote=is_parent_remote)


def client(address: str | None, agent: bytes | None) -> bytes:
    """What the span of a request says about who asked.

    Args:
        address: Of the client, as far as it is known.
        agent: What it says it is.
    """
    return _client(address, (agent or b"")[:LONGEST_HEADER])


@lru_cache(maxsize=4096)
def _client(address: str | None, agent: bytes) -> bytes:
    attributes = {"client.address": address} if address else {}
    if agent:
        attributes["user_agent.original"] = _agent(agent)
    return attributed(attributes)


def _path_of(size: int) -> bytes:
    """What stands before a path of so many bytes."""
    return attributed({"url.path": "x" * size}).removesuffix(b"x" * size)


_MOST_PATHS: Final = 100
_PATHS: Final = tuple(map(_path_of, range(_MOST_PATHS)))
_MOST_HEADS: Final = 1024
_HEADS: Final = tuple(nested(b"\x12", bytes(size))[: -size or None] for size in range(_MOST_HEADS))
"""What stands before a span of so many bytes."""
