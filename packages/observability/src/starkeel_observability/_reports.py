"""Requests that are over and wait to be told of, many at a time: each alone would cost twice as much."""

from collections.abc import Callable, Mapping
from time import perf_counter, time_ns
from typing import Any, Final, NamedTuple

import structlog
from opentelemetry.trace import SpanContext

from . import _ambient
from ._logs import _access
from ._metrics._http import OTHER, HttpMetrics, Key, Seen
from ._request import HEALTH, LONGEST_HEADER, LONGEST_PATH, Request, is_plain
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


class _Peer(NamedTuple):
    """Who asks.

    Attributes:
        address: Of the client, as far as it is known.
        span: What spans say of it.
        line: What lines say of it.
    """

    address: str | None
    span: bytes
    line: str


class _Kind:
    """What requests have in common, written down once.

    Args:
        key: What they were, and the status of the answer.
        span: What their spans say.
        line: What their lines say.
        needs_request: Whether more must be known of each than is kept of most.
    """

    __slots__ = ("key", "line", "needs_request", "seen", "span")

    def __init__(self, key: Key, span: bytes, line: _access.Common, *, needs_request: bool) -> None:
        self.key = key
        self.span = span
        self.line = line
        self.needs_request = needs_request
        self.seen: list[Seen] = []
        """Those that are not counted yet."""


Report = tuple[
    _Kind,
    _Peer,
    str,
    float,
    float,
    int,
    bytes,
    str,
    Mapping[str, Any],
    ServerSpan | None,
    Request | None,
    Told | None,
]
"""What it was; who asked, and for which path; when it began and ended; bytes that were sent; its ids, and
what it is called; what was bound for it; its span, if somebody asked for it; the request itself, if it is
needed; and what is said already, which is nothing for nearly all.

No more than that: what is kept is not at hand any more when it is needed, nor is what took its place.
"""


class Reports:
    """Counts requests, and tells of them in the log and to the collector, a moment after they are over.

    Args:
        metrics: Where they are counted.
        route_of: Finds the route that a request matched but for its method.
    """

    def __init__(self, metrics: HttpMetrics, route_of: Callable[[Request], str | None]) -> None:
        self._metrics = metrics
        self._route_of = route_of
        self._waiting: list[Report] = []
        # Looked up once for each request in place of all that is in them.
        self._kinds: dict[tuple[Any, ...], _Kind] = {}
        self._peers: dict[tuple[str | None, bytes | None], _Peer] = {}
        self._needs_requests = False

    def make_spans(self, *, is_needed: bool) -> None:
        """Say whether somebody wants the spans of all requests, not only what is sent of them."""
        if is_needed is not self._needs_requests:
            self._needs_requests = is_needed
            self._kinds.clear()

    def gather(self) -> None:
        """Have requests that are over wait from now on, until `flush`."""
        self.flush()
        self._waiting = []

    def tell_at_once(self) -> None:
        """Have none wait."""
        self.flush()
        self._waiting = _Impatient(self.flush)

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

    def add(
        self,
        request: Request,
        route: str | None,
        span: ServerSpan | None,
        bound: Mapping[str, Any],
        said: Told | None = None,
    ) -> None:
        """Have a request told of that is over.

        Args:
            request: What was asked.
            route: Template of its route.
            span: Its span, if somebody asked for it.
            bound: What was bound for it beside its id.
            said: What is said already.
        """
        method, path, _, client, scheme, version, _ = request.told
        named = request.headers
        host = named.get(b"host")
        status = request.status if said is None else said.status
        try:
            kind = self._kinds.get((method, route, status, scheme, version, host or request.target))
            if kind is None:
                kind = self._kind(request, route, status)
            who = client and client[0], named.get(b"user-agent")
            peer = self._peers.get(who) or self._peer(who)
        except Exception:
            log.exception("request not reported")
            return
        kept = None if span is None and not kind.needs_request else request
        self._waiting.append(
            (
                kind,
                peer,
                path,
                request.began,
                request.ended,
                request.sent_bytes,
                request.ids,
                request.id,
                bound,
                span,
                kept,
                said,
            )
        )

    def _tell(self, report: Report, batch: "_Batch") -> None:
        kind, peer, path, began, ended, sent_bytes, ids, request_id, bound, span, request, said = report
        began_ns, ended_ns = int(began * 1e9) + batch.offset_ns, int(ended * 1e9) + batch.offset_ns
        if said is None:
            if path.startswith(HEALTH):
                fields = told(kind.key, path, ended - began, sent_bytes, peer.address)
                _say(access_log.debug, request_id, b"", bound, fields)
                said = Told(kind.key[2], b"", is_sent=False, needs_line=False)
            elif request is not None:
                said = batch.end(request, span, kind.key, (began_ns, ended_ns))
        plain_path = path if is_plain(path) else None
        is_sent, needs_line = True, True
        if said is not None:
            _, ids, is_sent, needs_line = said
        elif batch.takes_all or batch.decide(None, ids):
            told_path = _server.odd_path(path) if plain_path is None else path.encode()
            batch.spans.append(_server.encoded(ids, kind.span, peer.span, told_path, began_ns, ended_ns))
        else:
            is_sent = False
        if not kind.seen:
            batch.kinds.append(kind)
        kind.seen.append((ended - began, ended, ids if is_sent else b""))
        if not needs_line:
            return
        if batch.lines is None or (bound and _access.is_said(bound)):
            # The long way: it is for people, or somebody wants to see it before.
            fields = told(kind.key, path, ended - began, sent_bytes, peer.address)
            _say(access_log.info, request_id, ids, bound, fields)
        else:
            line_path = _access.odd_path(path) if plain_path is None else plain_path
            batch.lines.add(
                kind.line, peer.line, line_path, ended - began, sent_bytes, ids, request_id, bound, ended_ns
            )

    def _kind(self, request: Request, route: str | None, status: int) -> _Kind:
        host, found = request.host, route
        is_lasting = len(host) <= LONGEST_HEADER
        if route is None and status == 405:
            # It is another with each path.
            found, is_lasting = self._route_of(request), False
        key = (request.method, found, status)
        span, line = _server.common(key, host, request.target), _access.common(key)
        kind = _Kind(key, span, line, needs_request=self._needs_requests or key[0] == OTHER)
        if is_lasting:
            if len(self._kinds) >= _MOST_KINDS:
                self._kinds.clear()
            method, _, _, _, scheme, version, _ = request.told
            self._kinds[method, route, status, scheme, version, host or request.target] = kind
        return kind

    def _peer(self, who: tuple[str | None, bytes | None]) -> _Peer:
        address, agent = who
        peer = _Peer(address, _server.client(address, agent), _access.client(address))
        if len(agent or b"") <= LONGEST_HEADER:
            if len(self._peers) >= _MOST_PEERS:
                self._peers.clear()
            self._peers[who] = peer
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

    def end(self, request: Request, span: ServerSpan | None, key: Key, times: tuple[int, int]) -> Told | None:
        """End the span of a request of which more is said than of most, if it is to have one."""
        if span is None and self._origin is not None and self.decide(None, request.ids):
            span = ServerSpan(self._origin, request, request.ids)
        if span is None:
            return None
        if span.complete(key, None, times):
            span.finish()
        return Told(key[2], span.ids, is_sent=True, needs_line=True)

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


def _say(
    say: Callable[..., Any], request_id: str, ids: bytes, bound: Mapping[str, Any], fields: dict[str, Any]
) -> None:
    _ambient.again(request_id, ids, bound, lambda: say("request completed", **fields))


def told(key: Key, path: str, duration_s: float, sent_bytes: int, client: str | None) -> dict[str, Any]:
    """What the line of a request says, its id and its trace apart.

    Args:
        key: What it was, and the status of the answer.
        path: For which it asked.
        duration_s: How many seconds it took.
        sent_bytes: How many bytes its answer had.
        client: Address of who asked, as far as it is known.
    """
    method, route, status = key
    fields: dict[str, Any] = {"method": method, "path": path[:LONGEST_PATH], "status": status}
    if route is not None:
        fields["route"] = route
    fields["duration_ms"] = round(duration_s * 1000, 3)
    fields["bytes"] = sent_bytes
    if client is not None:
        fields["client"] = client
    return fields
