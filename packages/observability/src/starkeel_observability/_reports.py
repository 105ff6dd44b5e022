"""Requests that are over and wait to be told of, many at a time: each alone would cost twice as much."""

from collections.abc import Callable, Mapping
from time import perf_counter, time_ns
from typing import Any, Final, NamedTuple

import structlog
from opentelemetry.trace import SpanContext

from . import _ambient
from ._logs import _access
from ._metrics._http import OTHER, HttpMetrics, Key, Seen
from ._request import HEALTH, Request, is_plain
from ._traces import _server, _span
from ._traces._sampler import Decide, all_but_unsampled
from ._traces._server import ServerSpan

_MOST_KINDS: Final = 1024
_MOST_PEERS: Final = 4096

log = structlog.get_logger(__name__)
access_log = structlog.get_logger(_access.TARGET)


class Told(NamedTuple):
    """What is said already of a request that was not as most are.

    Attributes:
        status: Of the answer.
        ids: Of its trace and its span, which has ended; nothing when it has none.
        is_sent: Whether that is sent.
        needs_line: Whether its line is still to be written.
    """

    status: int
    ids: bytes
    is_sent: bool
    needs_line: bool


Report = tuple[Request, str | None, ServerSpan | None, Mapping[str, Any], Told | None]
"""What was asked, template of its route, its span if somebody asked for it, what was bound for it, and what
is said already, which is nothing for nearly all."""


class _Kind:
    """What requests have in common, written down once.

    Args:
        key: What they were, and the status of the answer.
        span: What their spans say.
        line: What their lines say.
    """

    __slots__ = ("is_known", "key", "line", "seen", "span")

    def __init__(self, key: Key, span: bytes, line: _access.Common) -> None:
        self.key = key
        self.span = span
        self.line = line
        self.is_known = key[0] != OTHER
        """Whether their method says nothing that is not to be told."""
        self.seen: list[Seen] = []
        """Those that are not counted yet."""


class Reports:
    """Counts requests, and tells of them in the log and to the collector, a moment after they are over.

    Args:
        metrics: Where they are counted.
        slow_s: Seconds from which on a request is slow.
        route_of: Finds the route that a request matched but for its method.
    """

    def __init__(
        self, metrics: HttpMetrics, slow_s: float, route_of: Callable[[Request], str | None]
    ) -> None:
        self._metrics = metrics
        self._slow_s = slow_s
        self._route_of = route_of
        self._waiting: list[Report] = []
        # Looked up once for each request in place of all that is in them.
        self._kinds: dict[tuple[Any, ...], _Kind] = {}
        self._peers: dict[tuple[str | None, bytes | None], tuple[bytes, str]] = {}

    def gather(self) -> list[Report]:
        """Where requests that are over wait from now on, until `flush`."""
        self.flush()
        self._waiting = []
        return self._waiting

    def tell_at_once(self) -> list[Report]:
        """The same, but none waits."""
        self.flush()
        self._waiting = _Impatient(self.flush)
        return self._waiting

    def flush(self) -> None:
        """Tell of all that wait."""
        waiting = self._waiting[:]
        self._waiting.clear()
        if not waiting:
            return
        batch = _Batch()
        for report in waiting:
            try:
                self._tell(report, batch)
            except Exception:
                log.exception("request not reported")
        batch.send(self._metrics)

    def _tell(self, report: Report, batch: "_Batch") -> None:
        # In one piece for the sake of nearly all, of which nothing is said already.
        request, route, span, bound, said = report
        method, path, headers, client, scheme, version, server = request.told
        status = request.status if said is None else said.status
        if route is None and status == 405:
            route = self._route_of(request)
        named = dict(headers)
        host = named.get(b"host")
        kind = self._kinds.get((method, route, status, host, scheme, version, None if host else server))
        if kind is None:
            kind = self._kind(request, route, status)
        who = client and client[0], named.get(b"user-agent")
        peer = self._peers.get(who) or self._peer(who)
        began, ended = request.began, request.ended
        began_ns, ended_ns = int(began * 1e9) + batch.offset_ns, int(ended * 1e9) + batch.offset_ns
        ids, is_sent, needs_line = request.ids, True, True
        if said is None and (span or not batch.puts or not kind.is_known or path.startswith(HEALTH)):
            said = batch.end(report, kind.key, (began_ns, ended_ns))
        plain_path = path if is_plain(path) else None
        if said is not None:
            _, ids, is_sent, needs_line = said
        elif batch.takes_all or batch.decide(None, ids):
            told_path = _server.odd_path(request) if plain_path is None else path.encode()
            batch.spans.append(_server.encoded(ids, kind.span, peer[0], told_path, began_ns, ended_ns))
        else:
            is_sent = False
        if not kind.seen:
            batch.kinds.append(kind)
        kind.seen.append((ended - began, ended, ids if is_sent else b""))
        if needs_line:
            is_slow = ended - began >= self._slow_s and not request.is_stream
            if is_slow or batch.lines is None or (bound and _access.is_said(bound)):
                # The long way: it is for people, or somebody wants to see it before.
                say = access_log.warning if is_slow else access_log.info
                _say(say, request, kind.key, ids, bound)
            else:
                batch.lines.add(request, kind.line, peer[1], plain_path, ids, bound, ended_ns)

    def _kind(self, request: Request, route: str | None, status: int) -> _Kind:
        method, host, server = request.told[0], request.headers.get(b"host"), request.told[6]
        key = (request.method, route, status)
        kind = _Kind(key, _server.common(key, host, request.target), _access.common(key))
        if len(self._kinds) >= _MOST_KINDS:
            self._kinds.clear()
        self._kinds[method, route, status, host, *request.told[4:6], None if host else server] = kind
        return kind

    def _peer(self, who: tuple[str | None, bytes | None]) -> tuple[bytes, str]:
        if len(self._peers) >= _MOST_PEERS:
            self._peers.clear()
        peer = self._peers[who] = (_server.client(*who), _access.client(who[0]))
        return peer


class _Impatient(list[Report]):
    """Waits for nobody.

    Args:
        flush: Tells of what is in it.
    """

    def __init__(self, flush: Callable[[], None]) -> None:
        super().__init__()
        self._flush = flush

    def append(self, report: Report, /) -> None:
        """As a list's."""
        super().append(report)
        self._flush()


class _Batch:
    """What is told together."""

    def __init__(self) -> None:
        # One look at the clock that others set is enough for all.
        self.offset_ns = time_ns() - int(perf_counter() * 1e9)
        self.kinds: list[_Kind] = []
        """Those that were seen."""
        self.lines = _access.Lines() if _access.is_possible() else None
        self.spans: list[bytes] = []
        """Those that nobody asked for, as OTLP's messages."""
        tracer = _span.own_tracer()
        self._origin = None if tracer is None else tracer.origin
        self.decide: Decide = _nobody if tracer is None else tracer.decide
        self.takes_all = self.decide is all_but_unsampled
        """Whether each is sent that brings no trace."""
        self.puts = tracer is None or tracer.origin.put is not None
        """Whether they need not be made."""

    def end(self, report: Report, key: Key, times: tuple[int, int]) -> Told | None:
        """End the span of a request which is not as most are, and say what is to be said already."""
        request, _, span, bound, _ = report
        if request.is_health:
            _say(access_log.debug, request, key, b"", bound)
            return Told(request.status, b"", is_sent=False, needs_line=False)
        if span is None and self._origin is not None and self.decide(None, request.ids):
            span = ServerSpan(self._origin, request, request.ids)
        if span is None:
            return None
        if span.complete(key, None, times):
            span.finish()
        return Told(request.status, span.ids, is_sent=True, needs_line=True)

    def send(self, metrics: HttpMetrics) -> None:
        """Let go of what was gathered."""
        for kind in self.kinds:
            seen, kind.seen = kind.seen, []
            try:
                metrics.observe(kind.key, seen)
            except Exception:
                log.exception("requests not counted")
        if self.spans and self._origin is not None and self._origin.put is not None:
            self._origin.put(self._origin.scope, self.spans)
        if self.lines is not None:
            self.lines.write()


def _nobody(_parent: SpanContext | None, _ids: bytes) -> bool:
    return False


def _say(say: Callable[..., Any], request: Request, key: Key, ids: bytes, bound: Mapping[str, Any]) -> None:
    fields = told(request, key)
    _ambient.again(request.id, ids, bound, lambda: say("request completed", **fields))


def told(request: Request, key: Key) -> dict[str, Any]:
    """What the line of a request says, its id and its trace apart."""
    _, route, status = key
    fields: dict[str, Any] = {"method": request.method, "path": request.path, "status": status}
    if route is not None:
        fields["route"] = route
    fields["duration_ms"] = round(request.duration_s * 1000, 3)
    fields["bytes"] = request.sent_bytes
    if request.client is not None:
        fields["client"] = request.client
    return fields
