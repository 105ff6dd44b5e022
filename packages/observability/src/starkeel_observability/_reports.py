"""Requests that are over and wait to be told of, many at a time: each alone would cost twice as much."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, Final

import structlog
from opentelemetry.trace import SpanContext

from . import _ambient
from ._logs import _access
from ._metrics._http import OTHER, HttpMetrics, Key
from ._report import Kind, More, Peer, Report, Told
from ._request import HEALTH, LONGEST_HEADER, LONGEST_PATH, Request, are_plain, clock_offset_ns, is_plain
from ._traces import _server, _span
from ._traces._sampler import Decide, all_but_unsampled
from ._traces._server import ServerSpan

_MOST_KINDS: Final = 1024
_MOST_PEERS: Final = 4096
_NO_MORE: Final = More({}, None, None, None)
_kind_of, _path_of, _end_of, _more_of = map(itemgetter, (0, 2, 4, 8))

log = structlog.get_logger(__name__)
access_log = structlog.get_logger(_access.TARGET)


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
        self._kinds: dict[tuple[Any, ...], Kind] = {}
        self._peers: dict[tuple[str | None, bytes | None], Peer] = {}
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
        usual, odd = waiting, []
        if any(map(_more_of, waiting)):
            usual = [report for report in waiting if report[8] is None]
            odd = [report for report in waiting if report[8] is not None]
        if batch.makes_lines and are_plain(list(map(_path_of, usual))):
            batch.add_all(usual)
        else:
            odd = waiting
        for report in odd:
            with _reported("request not reported"):
                self._tell(report, batch)
        if odd:
            batch.lines.sort(key=_end_of)
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
        more = None
        if not kind.is_usual or bound or span is not None or said is not None:
            more = More(bound, span, request if kind.needs_request or span is not None else None, said)
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
                more,
            )
        )

    def _tell(self, report: Report, batch: "_Batch") -> None:
        kind, peer, path, began, ended, sent_bytes, ids, request_id, more = report
        bound, span, request, said = more or _NO_MORE
        if said is None and path.startswith(HEALTH):
            _say(access_log.debug, report, b"", bound)
            said = Told(kind.key[2], b"", is_sent=False, needs_line=False)
        elif said is None and request is not None:
            said = batch.end(request, span, report)
        path_of_span = path_of_line = path
        if not is_plain(path):
            path_of_span, path_of_line = _server.odd_path(path), _access.odd_path(path)
        if said is None:
            batch.spans.append((kind, peer, path_of_span, began, ended, sent_bytes, ids, request_id, None))
            batch.count((kind, peer, path, began, ended, sent_bytes, ids, request_id, None))
            needs_line = True
        else:
            _, ids, is_sent, needs_line = said
            ids_sent = ids if is_sent else b""
            batch.count((kind, peer, path, began, ended, sent_bytes, ids_sent, request_id, _NO_MORE))
        if not needs_line:
            return
        if not batch.makes_lines or _access.is_said(bound):
            # The long way: it is for people, or somebody wants to see it before.
            _say(access_log.info, report, ids, bound)
        else:
            kind = kind if not bound else _access.with_bound(kind, bound)
            batch.lines.append((kind, peer, path_of_line, began, ended, sent_bytes, ids, request_id, None))

    def _kind(self, request: Request, route: str | None, status: int) -> Kind:
        host, found = request.host, route
        is_lasting = len(host) <= LONGEST_HEADER
        if route is None and status == 405:
            # It is another with each path.
            found, is_lasting = self._route_of(request), False
        key = (request.method, found, status)
        needs_request = self._needs_requests or key[0] == OTHER
        kind = Kind(
            key,
            _server.common(key, host, request.target),
            _access.common(key),
            needs_request=needs_request,
            # Where the route does not say what its paths begin with, they may be those of our own health.
            is_usual=not needs_request and not (found or HEALTH).startswith((HEALTH.rstrip("/"), "/{")),
        )
        if is_lasting:
            if len(self._kinds) >= _MOST_KINDS:
                self._kinds.clear()
            method, _, _, _, scheme, version, _ = request.told
            self._kinds[method, route, status, scheme, version, host or request.target] = kind
        return kind

    def _peer(self, who: tuple[str | None, bytes | None]) -> Peer:
        address, agent = who
        peer = Peer(address, _server.client(address, agent), _access.client(address))
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
        self._offset_ns = clock_offset_ns()
        self._kinds: set[Kind] = set()
        """Those that were seen."""
        self.makes_lines = _access.is_possible()
        self.lines: list[Report] = []
        """Those whose lines are to be made."""
        self.spans: list[Report] = []
        """Those whose spans nobody asked for."""
        tracer = _span.own_tracer()
        self._origin = None if tracer is None else tracer.origin
        self._decide: Decide = _nobody if tracer is None else tracer.decide

    def add_all(self, reports: list[Report]) -> None:
        """Have those told of that are as most are."""
        kinds = set(map(_kind_of, reports))
        self._kinds |= kinds
        if len(kinds) == 1:
            kinds.pop().seen += reports
        else:
            for report in reports:
                report[0].seen.append(report)
        self.spans += reports
        self.lines += reports

    def count(self, report: Report) -> None:
        """Have one counted; if there is more about it, it has ids only if its trace is sent."""
        kind = report[0]
        self._kinds.add(kind)
        kind.seen.append(report)

    def end(self, request: Request, span: ServerSpan | None, report: Report) -> Told | None:
        """End the span of a request of which more is said than of most, if it is to have one."""
        if span is None and self._origin is not None and self._decide(None, request.ids):
            span = ServerSpan(self._origin, request, request.ids)
        if span is None:
            return None
        key = report[0].key
        if span.complete(key, None, (report[3] + self._offset_ns, report[4] + self._offset_ns)):
            span.finish()
        return Told(key[2], span.ids, is_sent=True, needs_line=True)

    def send(self, metrics: HttpMetrics) -> None:
        """Let go of what was gathered."""
        decide, origin = self._decide, self._origin
        for kind in self._kinds:
            seen, kind.seen = kind.seen, []
            with _reported("requests not counted"):
                # Another thread that tells at once may have counted them.
                if seen:
                    metrics.observe(kind.key, seen, decide)
        spans = self.spans
        if origin is not None and origin.put is not None:
            with _reported("spans not sent"):
                if decide is not all_but_unsampled:
                    spans = [report for report in spans if decide(None, report[6])]
                origin.put(origin.scope, _server.encoded(spans, self._offset_ns))
        with _reported("lines not written"):
            _access.write(self.lines, self._offset_ns)


@contextmanager
def _reported(failure: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        log.exception(failure)


def _nobody(_parent: SpanContext | None, _ids: bytes) -> bool:
    return False


def _say(say: Callable[..., Any], report: Report, ids: bytes, bound: Mapping[str, Any]) -> None:
    kind, peer, path, began, ended, sent_bytes, _, request_id, _ = report
    fields = told(kind.key, path, ended - began, sent_bytes, peer.address)
    _ambient.again(request_id, ids, bound, lambda: say("request completed", **fields))


def told(key: Key, path: str, duration_ns: int, sent_bytes: int, client: str | None) -> dict[str, Any]:
    """What the line of a request says, its id and its trace apart.

    Args:
        key: What it was, and the status of the answer.
        path: For which it asked.
        duration_ns: How many nanoseconds it took.
        sent_bytes: How many bytes its answer had.
        client: Address of who asked, as far as it is known.
    """
    method, route, status = key
    fields: dict[str, Any] = {"method": method, "path": path[:LONGEST_PATH], "status": status}
    if route is not None:
        fields["route"] = route
    fields["duration_ms"] = round(duration_ns / 1e6, 3)
    fields["bytes"] = sent_bytes
    if client is not None:
        fields["client"] = client
    return fields
