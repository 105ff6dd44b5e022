"""Requests that are over and wait to be told of, many at a time: each alone would cost twice as much."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from time import perf_counter, time_ns
from typing import Any, NamedTuple

import structlog
from opentelemetry.trace import SpanContext

from . import _ambient
from ._logs import _access
from ._metrics._http import METHODS, OTHER, HttpMetrics, Key, Seen
from ._request import Request, is_health, is_plain
from ._traces import _span
from ._traces._sampler import Decide
from ._traces._server import ServerSpan, encoded

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
        request, route, span, bound, said = report
        method, path = request.told[0], request.told[1]
        status = request.status if said is None else said.status
        if route is None and status == 405:
            route = self._route_of(request)
        key = (method if method in METHODS else OTHER, route, status)
        began_ns = int(request.began * 1e9) + batch.offset_ns
        ended_ns = int(request.ended * 1e9) + batch.offset_ns
        if said is None and (span is not None or not batch.puts or method not in METHODS or is_health(path)):
            said = batch.end(report, key, (began_ns, ended_ns))
        plain_path = path if is_plain(path) else None
        ids, is_sent, needs_line = request.ids, True, True
        if said is not None:
            _, ids, is_sent, needs_line = said
        elif batch.decide(None, ids):
            batch.spans.append(encoded(request, key, ids, plain_path, began_ns, ended_ns))
        else:
            is_sent = False
        duration_s = request.ended - request.began
        batch.seen[key].append((duration_s, request.ended, ids if is_sent else b""))
        if needs_line:
            is_slow = duration_s >= self._slow_s and not request.is_stream
            if is_slow or batch.lines is None or (bound and _access.is_said(bound)):
                # The long way: it is for people, or somebody wants to see it before.
                _say(access_log.warning if is_slow else access_log.info, request, key, ids, bound)
            else:
                batch.lines.append(_access.line(request, key, plain_path, ids, bound, ended_ns))


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
        self.seen: defaultdict[Key, list[Seen]] = defaultdict(list)
        self.lines: list[str] | None = [] if _access.is_possible() else None
        self.spans: list[bytes] = []
        """Those that nobody asked for, as OTLP's messages."""
        tracer = _span.own_tracer()
        self._origin = None if tracer is None else tracer.origin
        self.decide: Decide = _nobody if tracer is None else tracer.decide
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
        for key, seen in self.seen.items():
            try:
                metrics.observe(key, seen)
            except Exception:
                log.exception("requests not counted")
        if self.spans and self._origin is not None and self._origin.put is not None:
            self._origin.put(self._origin.scope, self.spans)
        if self.lines:
            _access.write(self.lines)


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
