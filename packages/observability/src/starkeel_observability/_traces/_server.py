"""The span of a request: what requests have in common is written once, and the rest put beside it."""

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from time import time_ns
from typing import Any, Final

from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from starkeel_observability._logs._redact import masked
from starkeel_observability._metrics._http import OTHER, Key
from starkeel_observability._request import Request

from ._encode import NO_STATUS, attributed, named, nested, parented, utf8
from ._recorded import RecordedSpan, Scope

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_HEAD: Final = Struct("<BBBBB16sBB8sBQBQ").pack
_HEAD_BYTES: Final = 46
"""Without what says that it is a span, and its size."""


class ServerSpan(RecordedSpan):
    """The span of a request.

    Args:
        finished: Called with it when it ends.
        scope: Who makes it.
        request: Of which it is.
        ids: Of its trace, 16 bytes, then its own, 8 bytes.
    """

    kind = SpanKind.SERVER
    name = ""
    _key: Key | None = None
    _attributes: dict[str, Any] | None = None

    def __init__(
        self, finished: Callable[[RecordedSpan], None], scope: Scope, request: Request, ids: bytes
    ) -> None:
        self._finished = finished
        self.scope = scope
        self.request = request
        self.ids = ids
        self.start_ns = time_ns()
        self.is_touched = False

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

    def complete(self, key: Key, error_type: str | None, at_ns: int) -> bool:
        """Say how the request ended, and end it; `finish` tells it. Whether it had not ended before.

        Args:
            key: What it was, and the status of the answer.
            error_type: What went wrong, when it is the service's fault.
            at_ns: Nanoseconds since 1970.
        """
        if self.end_ns:
            return False
        if error_type is None and not self.is_touched and key[0] != OTHER:
            self._key = key
            self.name = name_of(key[0], key[1])
        else:
            self._complete(key, error_type)
        self.end_ns = at_ns
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
        self._finished(self)

    def encoded(self) -> bytes:
        """It as OTLP's message, once it has ended."""
        key, request = self._key, self.request
        if key is None:
            return super().encoded()
        common = _common(key, request.host, request.target, self.is_parent_remote)
        client = _client(request.client, request.agent)
        path = utf8(masked(request.path))
        before = _PATHS[len(path)] if len(path) < len(_PATHS) else _path_of(len(path))
        parent = b"\x22\x08" + self.parent if self.parent else b""
        size = _HEAD_BYTES + len(common) + len(client) + len(before) + len(path) + len(parent)
        ids = self.ids
        head = _HEAD(
            0x12,
            size & 127 | 128,
            size >> 7 & 127,
            0x0A,
            16,
            ids[:16],
            0x12,
            8,
            ids[16:],
            0x39,
            self.start_ns,
            0x41,
            self.end_ns,
        )
        if 128 <= size < 16_384:
            return b"".join((head, common, client, before, path, parent))
        # Its size does not take two bytes, as that of nearly all does.
        return nested(b"\x12", b"".join((head[3:], common, client, before, path, parent)))


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
    return masked(agent[:512].decode("latin-1"))


def _split(host: str) -> tuple[str, int | None]:
    address, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        return host[:255], None
    return address[:255], int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else None


@lru_cache(maxsize=1024)
def _common(key: Key, host: bytes, target: tuple[Any, ...], is_parent_remote: bool) -> bytes:
    """What the spans of all requests of one kind and outcome say."""
    method, route, _ = key
    name = name_of(method, route)
    attributes = attributed({"http.request.method": method, **_target(host, target), **answered(key, None)})
    return named(name, SpanKind.SERVER) + attributes + NO_STATUS + parented(is_remote=is_parent_remote)


@lru_cache(maxsize=4096)
def _client(address: str | None, agent: bytes) -> bytes:
    attributes = {"client.address": address} if address else {}
    if agent:
        attributes["user_agent.original"] = _agent(agent)
    return attributed(attributes)


def _path_of(size: int) -> bytes:
    """What stands before a path of so many bytes."""
    return attributed({"url.path": "x" * size}).removesuffix(b"x" * size)


_PATHS: Final = tuple(map(_path_of, range(100)))
