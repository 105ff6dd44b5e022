"""Facts of a request as telemetry reports them."""

import re
from collections.abc import Sequence
from functools import lru_cache
from time import perf_counter_ns, time_ns
from typing import Any, Final

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.propagators import textmap
from starkeel_asgi import REQUEST_ID, Exchange

from .labels import METHODS, OTHER

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
LONGEST_PATH: Final = 2048
_PLAIN: Final = re.compile(r"[A-Za-z0-9/_.~!$&()*+,;:\n-]*").fullmatch
LONGEST_HEADER: Final = 512
"""Bytes of a header that are reported and cached; clients may send much more."""
HEALTH: Final = "/health/"
"""Prefix of the health endpoints' paths."""


def accept_request_id(exchange: Exchange) -> None:
    """Use the client's request id, if it sent a valid one."""
    # Repeated headers are joined by a comma, and so invalid.
    sent = exchange.headers.get(REQUEST_ID)
    if sent is not None and _REQUEST_ID(sent):
        exchange.id, exchange.id_bytes = sent.decode(), sent


def is_health(exchange: Exchange) -> bool:
    """Return whether this is a health check, which only the metrics report."""
    path: str = exchange.facts[1]
    return path.startswith(HEALTH)


def method_label(exchange: Exchange) -> str:
    """Return the method; `_OTHER` for an unknown one, as clients may send anything."""
    method: str = exchange.facts[0]
    return method if method in METHODS else OTHER


def path_of(exchange: Exchange) -> str:
    """Return the path, cut to `LONGEST_PATH` characters."""
    path: str = exchange.facts[1]
    return path[:LONGEST_PATH]


def began_unix_ns(exchange: Exchange) -> int:
    """Return the start in nanoseconds since 1970."""
    return exchange.received_ns + clock_offset_ns()


def ended_unix_ns(exchange: Exchange) -> int:
    """Return the end in nanoseconds since 1970."""
    return exchange.ended_ns + clock_offset_ns()


def user_agent(exchange: Exchange) -> bytes:
    """Return the `User-Agent`; empty when the client sent none."""
    return exchange.headers.get(b"user-agent", b"")


def host_of(exchange: Exchange) -> bytes:
    """Return the `Host`; empty when the client sent none."""
    return exchange.headers.get(b"host", b"")


def target_of(exchange: Exchange) -> tuple[Any, ...]:
    """Return scheme, HTTP version and listening address."""
    scheme, version, server = exchange.facts[4:]
    # ASGI allows any iterable of two items there.
    return scheme, version, server and tuple(server)


def parent_of(exchange: Exchange) -> Context:
    """Return the trace context and baggage of the request headers; empty without."""
    carrier = {name.decode("latin-1"): text.decode("latin-1") for name, text in exchange.headers.items()}
    return propagate.extract(carrier, context=Context())


def clock_offset_ns() -> int:
    """Return the offset from `perf_counter_ns()` to Unix time, in nanoseconds."""
    return time_ns() - perf_counter_ns()


def is_plain(path: str) -> bool:
    """Return whether a path needs neither masking nor JSON escaping."""
    return are_plain([path])


def are_plain(paths: Sequence[str]) -> bool:
    """Return whether no path needs masking or JSON escaping."""
    # Joined: one match costs less than many.
    text = "\n".join(paths)
    return (
        _PLAIN(text) is not None
        and "eyJ" not in text
        and text.count("\n") < len(paths)
        and max(map(len, paths)) <= LONGEST_PATH
    )


def trace_headers() -> frozenset[bytes]:
    """Return the names of the headers that carry trace context."""
    return _fields(propagate.get_global_textmap())


@lru_cache(maxsize=8)
def _fields(propagator: textmap.TextMapPropagator) -> frozenset[bytes]:
    return frozenset(field.lower().encode() for field in propagator.fields)
