"""Facts, ids, failures and records of requests, as telemetry reports them."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from random import Random
from struct import Struct
from time import perf_counter_ns, time_ns
from typing import Any, Final, NamedTuple

from litestar.exceptions import HTTPException, LitestarException, WebSocketException
from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags
from starkeel_asgi import Exchange

from .._compat import SPAN_KEY

OTHER: Final = "_OTHER"
"""Label of methods that are not in `METHODS`, as OpenTelemetry's conventions for HTTP define it."""
METHODS: Final = frozenset(
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"]
)
"""Methods used as label values; clients can send any text."""
Key = tuple[str, str | None, int]
"""Method (`OTHER` if it is not in `METHODS`), route template if a route matched, response status."""

LONGEST_PATH: Final = 2048
LONGEST_HEADER: Final = 512
"""Bytes of a header that are reported and cached; clients may send much more."""
HEALTH: Final = "/health/"
"""Prefix of the health endpoints' paths, which only the metrics report."""
QUIET: Final = "starkeel_observability.quiet"
"""Key in a handler's `opt`: successful requests have their log line at DEBUG."""
_TRACEPARENT: Final = re.compile(
    rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})"
).fullmatch
_PLAIN: Final = re.compile(r"[A-Za-z0-9/_.~!$&()*+,;:\n-]*").fullmatch

_BATCH_SIZE: Final = 64
_TRACE_AND_SPAN: Final = Struct("24s")
_TRACE: Final = Struct("16s8x")
# Not the global generator, which an application may seed. Ids are not secret.
_random: Final = Random()  # noqa: S311
random_bits: Final = _random.getrandbits

Ids = tuple[bytes, str, bytes]
"""Trace id, 16 bytes, with span id, 8 bytes; request id, the hexadecimal trace id, as text and as bytes."""
id_stock: Final[list[Ids]] = []
"""Ids generated in advance, in batches, which is faster."""


def request_ids() -> Ids:
    """Return the ids of a new request."""
    while True:
        try:
            return id_stock.pop()
        except IndexError:
            id_stock.extend(_generate())


def _generate() -> Iterable[Ids]:
    size = _TRACE_AND_SPAN.size * _BATCH_SIZE
    generated = random_bits(8 * size).to_bytes(size, "big")
    all_ids = chain.from_iterable(_TRACE_AND_SPAN.iter_unpack(generated))
    texts = list(map(bytes.hex, chain.from_iterable(_TRACE.iter_unpack(generated))))
    return zip(all_ids, texts, map(str.encode, texts), strict=True)


def _reset_ids() -> None:
    _random.seed()
    id_stock.clear()


# Otherwise parent and child would return the same ids.
os.register_at_fork(after_in_child=_reset_ids)


def quiet_access_log() -> dict[str, Any]:
    """Return route options for requests that repeat by themselves, such as the polls of other services.

    Their log lines are at DEBUG. They are counted and traced as others, and those that are slow or have a
    status of 400 or more are logged as others. Pass them as the route's `opt`; join several with `|`.
    """
    return {QUIET: True}


def is_health(exchange: Exchange) -> bool:
    """Return whether this is a health check."""
    return exchange.path.startswith(HEALTH)


def method_label(method: str) -> str:
    """Return the method; `OTHER` for an unknown one."""
    return method if method in METHODS else OTHER


def target_of(facts: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return scheme, HTTP version and listening address, given the facts of an exchange."""
    scheme, version, server = facts[4:]
    # ASGI allows any iterable of two items there.
    return scheme, version, server and tuple(server)


def parent_of(exchange: Exchange, *, is_traceparent: bool) -> Context:
    """Return the trace context and baggage of the request headers; empty without.

    If the propagators would read `traceparent` alone, it is read here, which is faster.
    """
    found = _TRACEPARENT(exchange.headers.get(b"traceparent", b"")) if is_traceparent else None
    if found is not None:
        trace_id, span_id, flags = (int(part, 16) for part in found.groups())
        parent = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
        return Context({SPAN_KEY: NonRecordingSpan(parent)})
    carrier = {name.decode("latin-1"): text.decode("latin-1") for name, text in exchange.headers.items()}
    return propagate.extract(carrier, context=Context())


def clock_offset_ns() -> int:
    """Return the offset from `perf_counter_ns()` to Unix time, in nanoseconds."""
    return time_ns() - perf_counter_ns()


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


class Failure(NamedTuple):
    """A failure of a request that is the service's fault."""

    exception: BaseException | None
    error_type: str
    must_log: bool
    """Whether to log a stack trace: the exception is unexpected and has not been logged."""


def failure_of(exchange: Exchange, raised: BaseException | None, status: int) -> Failure | None:
    """Return the failure of a request; `None` if it succeeded or the client is at fault."""
    if raised is None and status < 500 and status != 101:
        return None
    exception = _innermost(raised or exchange.error)
    is_unexpected = isinstance(exception, Exception) and not isinstance(
        exception, (HTTPException, WebSocketException)
    )
    # A cancelled request has failed if its response was incomplete.
    if not (
        status >= 500
        or isinstance(raised, Exception)
        or (raised is not None and 200 <= status < 300)
        or (status == 101 and is_unexpected)
    ):
        return None
    known = (exchange.scope.get("state") or {}).get("error_type")
    if isinstance(known, str):
        return Failure(exception, known, must_log=False)
    return Failure(exception, _type_name(exception) or str(status), must_log=is_unexpected)


def _innermost(exception: BaseException | None) -> BaseException | None:
    """Return the exception that Litestar or a task group wrapped."""
    # Causes may form a cycle.
    passed: set[int] = set()
    while id(exception) not in passed:
        passed.add(id(exception))
        if type(exception) is LitestarException and exception.__cause__ is not None:
            exception = exception.__cause__
        elif isinstance(exception, BaseExceptionGroup) and len(exception.exceptions) == 1:
            exception = exception.exceptions[0]
    return exception


def _type_name(exception: BaseException | None) -> str | None:
    if exception is None:
        return None
    kind = type(exception)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class ClientInfo(NamedTuple):
    """Client of a request: IP address, if known, encoded span attributes and rendered log fields."""

    address: str | None
    span: bytes
    line: str


class RequestTemplate:
    """Pre-encoded parts that requests with the same method, route, status, host and target share.

    Args:
        key: Method, route and status.
        span: Encoded span fields.
        line: Rendered log fields before the path and after it.
        is_fast: Whether records without extras need no individual inspection.
        is_quiet: Whether lines are written at DEBUG.
    """

    __slots__ = ("is_fast", "is_quiet", "key", "line_after", "line_before", "pending", "span")

    def __init__(
        self, key: Key, span: bytes, line: tuple[str, str], *, is_fast: bool, is_quiet: bool = False
    ) -> None:
        self.key = key
        self.span = span
        self.line_before, self.line_after = line
        self.is_fast = is_fast
        self.is_quiet = is_quiet
        self.pending: list[RequestRecord] = []
        """Records of the current batch that are not counted yet."""


class SlowPathResult(NamedTuple):
    """Parts that the slow path has already reported for a request."""

    status: int
    ids: bytes
    """Trace id and span id of the ended span; empty if there is none."""
    is_sampled: bool
    needs_line: bool
    """Whether the access log line is still to be written."""


class RequestExtras(NamedTuple):
    """Data that only some requests have."""

    bound: Mapping[str, Any]
    """Fields bound in `structlog.contextvars`."""
    span: Any
    """The `ServerSpan`, if an object was created."""
    result: SlowPathResult | None


RequestRecord = tuple[RequestTemplate, ClientInfo, str, int, int, int, bytes, str, RequestExtras | None]
"""Template, client, path, start and end in nanoseconds of `perf_counter_ns()`, bytes sent, trace and span id,
empty if there is no span, request id, and extras, which most requests do not have.

A plain tuple of few objects: memory that the records hold is not in the CPU cache when it is read again.
"""
