"""What a request says about itself before it is answered."""

import re
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from time import perf_counter_ns, time_ns
from typing import Any, Final

from litestar.types import Receive, Scope, Send
from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.propagators import textmap

from .disconnect_watcher import Incoming
from .ids import request_ids
from .labels import METHODS, OTHER

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
LONGEST_PATH: Final = 2048
_PLAIN: Final = re.compile(r"[A-Za-z0-9/_.~!$&()*+,;:\n-]*").fullmatch
_NAMES: Final = ("method", "path", "headers", "client", "scheme", "http_version", "server")
_told: Final = itemgetter(*_NAMES)
REQUEST_ID: Final = b"x-request-id"
LONGEST_HEADER: Final = 512
"""Bytes of a header that are told, and kept for others: clients may send a hundred times that."""
HEALTH: Final = "/health/"
"""What the paths begin with that ask how we are."""


class Request:
    """A request, or the handshake of a WebSocket.

    What is not needed before it is over is kept as it came, and made something of with that of many others.

    Args:
        scope: Of ASGI.
        receive: The server's.
        send: The server's.
    """

    __slots__ = (
        *("_incoming", "_receive", "_send", "began", "ended", "headers", "id", "id_bytes", "ids"),
        *("is_stream", "sent_bytes", "status", "told", "was_left"),
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.began = perf_counter_ns()
        self.ended = 0
        """Nanoseconds of a clock that nobody sets; 0 while it is not over."""
        # Now: a router may shorten the path.
        try:
            self.told = _told(scope)
        except KeyError:
            self.told = _completed(scope)
        """Method, path, headers, client, scheme, version of HTTP, and where we listen, all as they came."""
        self.headers: dict[bytes, bytes] = dict(self.told[2])
        """What it says, by name; the last of several of one name."""
        self._receive = receive
        self._send = send
        self._incoming: Incoming | None = None
        self.status = 0
        """Of the answer; 0 while there is none."""
        self.sent_bytes = 0
        self.is_stream = False
        """Whether it lasts as long as the client wants."""
        self.was_left: bool | None = None
        """Whether the client had gone before the answer was complete; none when it is not, or is a stream."""
        self.ids, self.id, self.id_bytes = request_ids()

    def take_id(self) -> None:
        """Have the id that the client gave, if it gave one that may be taken."""
        sent = self.headers.get(REQUEST_ID, b"")
        # Two are as good as none.
        if _REQUEST_ID(sent) and sum(name == REQUEST_ID for name, _ in self.told[2]) == 1:
            self.id, self.id_bytes = sent.decode(), sent

    def brings(self, names: frozenset[bytes]) -> bool:
        """Whether it has one of these headers."""
        return not names.isdisjoint(self.headers)

    @property
    def is_health(self) -> bool:
        """Whether it asks how we are, of which only the metrics tell."""
        path: str = self.told[1]
        return path.startswith(HEALTH)

    @property
    def method_sent(self) -> str:
        """Its method, whatever that is."""
        method: str = self.told[0]
        return method

    @property
    def method(self) -> str:
        """Its method, as it may be told."""
        method: str = self.told[0]
        return method if method in METHODS else OTHER

    @property
    def path(self) -> str:
        """What it asked for."""
        path: str = self.told[1]
        return path[:LONGEST_PATH]

    @property
    def duration_ns(self) -> int:
        """How long it took."""
        return self.ended - self.began

    @property
    def ended_ns(self) -> int:
        """When it was over, in nanoseconds since 1970."""
        return self.ended + clock_offset_ns()

    @property
    def began_ns(self) -> int:
        """When it began, in nanoseconds since 1970."""
        return self.began + clock_offset_ns()

    @property
    def client(self) -> str | None:
        """Address of the client, as far as it is known."""
        client = self.told[3]
        return client[0] if client else None

    @property
    def agent(self) -> bytes:
        """What the client says it is; nothing when it does not."""
        return self.headers.get(b"user-agent", b"")

    @property
    def host(self) -> bytes:
        """Whom the client believes to talk to; nothing when it does not say."""
        return self.headers.get(b"host", b"")

    @property
    def target(self) -> tuple[Any, ...]:
        """Scheme, version of HTTP, and where we listen."""
        scheme, version, server = self.told[4:]
        # ASGI has anything with two items there.
        return scheme, version, server and tuple(server)

    def parent(self) -> Context:
        """The trace that the request belongs to, with its baggage; empty when it brings none."""
        carrier = {name.decode("latin-1"): text.decode("latin-1") for name, text in self.headers.items()}
        return propagate.extract(carrier, context=Context())


def clock_offset_ns() -> int:
    """What is added to a time of the clock that nobody sets to have nanoseconds since 1970."""
    return time_ns() - perf_counter_ns()


def is_plain(path: str) -> bool:
    """Whether a path needs no closer look: nothing in it is personal, and JSON writes it as it is."""
    return are_plain([path])


def are_plain(paths: Sequence[str]) -> bool:
    """Whether none of some paths needs a closer look."""
    # Together, as a look costs more than what is looked at.
    text = "\n".join(paths)
    return (
        _PLAIN(text) is not None
        and "eyJ" not in text
        and text.count("\n") < len(paths)
        and max(map(len, paths)) <= LONGEST_PATH
    )


def trace_headers() -> frozenset[bytes]:
    """Names of the headers that a trace comes by."""
    return _fields(propagate.get_global_textmap())


@lru_cache(maxsize=8)
def _fields(propagator: textmap.TextMapPropagator) -> frozenset[bytes]:
    return frozenset(field.lower().encode() for field in propagator.fields)


def _completed(scope: Scope) -> tuple[Any, ...]:
    # A WebSocket's handshake is a GET, which ASGI leaves out.
    given: dict[str, Any] = {"method": "GET", "headers": (), **scope}
    return tuple(given.get(name) for name in _NAMES)
