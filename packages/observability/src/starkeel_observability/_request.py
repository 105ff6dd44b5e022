"""What a request says about itself before it is answered."""

import re
from collections.abc import Iterable
from functools import lru_cache
from operator import itemgetter
from time import perf_counter, time_ns
from typing import Any, Final

from litestar.types import Scope
from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.propagators import textmap

from ._metrics._http import METHODS, OTHER
from ._random import random_bits

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
_LONGEST_PATH: Final = 2048
_NOTHING: Final = Context()
_WHENCE: Final = ("client", "scheme", "http_version", "server")
_whence: Final = itemgetter(*_WHENCE)


class Request:
    """A request, or the handshake of a WebSocket; what is not needed before it is over is taken as it comes.

    Args:
        scope: Of ASGI.
    """

    __slots__ = ("_drawn", "_headers", "_whence", "began", "ended", "id", "is_health", "method_sent", "path")

    def __init__(self, scope: Scope) -> None:
        self.began = perf_counter()
        """Seconds of a clock that nobody sets, as is `ended`."""
        self.ended = 0.0
        given: Any = scope["headers"]
        self._headers: dict[bytes, bytes] = dict(given)
        # A WebSocket's handshake is a GET, which ASGI leaves out.
        self.method_sent: Any = scope.get("method", "GET")
        # Now: a router may shorten it.
        self.path: str = scope["path"][:_LONGEST_PATH]
        self.is_health = self.path.startswith("/health/")
        try:
            self._whence: tuple[Any, ...] = _whence(scope)
        except KeyError:
            self._whence = tuple(scope.get(name) for name in _WHENCE)
        self._drawn = drawn = random_bits(320).to_bytes(40, "big")
        sent_id = self._headers.get(b"x-request-id")
        self.id = drawn[24:].hex() if sent_id is None else _id(sent_id, given) or drawn[24:].hex()

    @property
    def ids(self) -> bytes:
        """For its trace and its span, in case it brings none."""
        return self._drawn[:24]

    @property
    def method(self) -> str:
        """Its method, as it may be told."""
        return self.method_sent if self.method_sent in METHODS else OTHER

    @property
    def duration_s(self) -> float:
        """How long it took."""
        return self.ended - self.began

    @property
    def ended_ns(self) -> int:
        """When it was over, in nanoseconds since 1970."""
        return time_ns() - int((perf_counter() - self.ended) * 1e9)

    @property
    def began_ns(self) -> int:
        """When it began, in nanoseconds since 1970."""
        return time_ns() - int((perf_counter() - self.began) * 1e9)

    @property
    def client(self) -> str | None:
        """Address of the client, as far as it is known."""
        client = self._whence[0]
        return client[0] if client else None

    @property
    def agent(self) -> bytes:
        """What the client says it is; nothing when it does not."""
        return self._headers.get(b"user-agent", b"")

    @property
    def host(self) -> bytes:
        """Whom the client believes to talk to; nothing when it does not say."""
        return self._headers.get(b"host", b"")

    @property
    def target(self) -> tuple[Any, ...]:
        """Scheme, version of HTTP, and where we listen."""
        return self._whence[1:]

    def parent(self) -> Context:
        """The trace that the request belongs to, with its baggage; empty when it brings none."""
        if _carrying(propagate.get_global_textmap()).isdisjoint(self._headers):
            return _NOTHING
        carrier = {name.decode("latin-1"): text.decode("latin-1") for name, text in self._headers.items()}
        return propagate.extract(carrier, context=Context())


def _id(sent: bytes, given: Iterable[tuple[bytes, bytes]]) -> str | None:
    """A client's own id, if it may be taken."""
    # Two are as good as none.
    is_fit = _REQUEST_ID(sent) and sum(name == b"x-request-id" for name, _ in given) == 1
    return sent.decode() if is_fit else None


@lru_cache(maxsize=8)
def _carrying(propagator: textmap.TextMapPropagator) -> frozenset[bytes]:
    """Names of the headers that a trace comes by."""
    return frozenset(field.lower().encode() for field in propagator.fields)
