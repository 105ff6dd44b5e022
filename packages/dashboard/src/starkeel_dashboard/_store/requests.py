"""Rate, errors and duration of requests, and the slowest statements, computed from spans as they arrive."""

from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from .quantiles import nearest
from .records import SpanRecord

WINDOW_S: Final = 60
_MAX_DURATIONS: Final = 500
_MAX_KEYS: Final = 500
_MAX_TEXT: Final = 2000


class Activity(msgspec.Struct):
    """Requests of a route, or of all routes of a service."""

    service: str
    route: str
    total: int = 0
    failed: int = 0
    durations_ms: deque[float] = msgspec.field(default_factory=lambda: deque(maxlen=_MAX_DURATIONS))
    """The latest ones."""
    seconds: deque[tuple[int, int, int]] = msgspec.field(default_factory=lambda: deque(maxlen=WINDOW_S))
    """Second since 1970, requests and failed requests, of those that had any."""

    def add(self, span: SpanRecord, *, now_s: float) -> None:
        """Count a request."""
        self.total += 1
        self.failed += span.is_failed
        if not span.is_stream:
            self.durations_ms.append(span.duration_ns / 1e6)
        second, count, failed = int(now_s), 0, 0
        if self.seconds and self.seconds[-1][0] == second:
            _, count, failed = self.seconds.pop()
        self.seconds.append((second, count + 1, failed + span.is_failed))

    def per_second(self, now_s: float) -> float:
        """Return the requests a second over the last minute."""
        return sum(count for second, count, _ in self.seconds if second > now_s - WINDOW_S) / WINDOW_S

    def error_ratio(self, now_s: float) -> float:
        """Return the share of failed requests in the last minute, else since the start."""
        recent = [(count, failed) for second, count, failed in self.seconds if second > now_s - WINDOW_S]
        count, failed = sum(each[0] for each in recent), sum(each[1] for each in recent)
        return failed / count if count else self.failed / max(1, self.total)

    def quantiles_ms(self) -> tuple[float, float, float]:
        """Return p50, p95 and p99 of the latest durations."""
        ordered = sorted(self.durations_ms)
        return nearest(ordered, 0.5), nearest(ordered, 0.95), nearest(ordered, 0.99)


class Statement(msgspec.Struct):
    """Executions of a database statement."""

    service: str
    text: str
    count: int = 0
    total_ms: float = 0.0
    max_ms: float = 0.0
    trace_id: bytes = b""
    """Trace of the slowest execution."""

    @property
    def mean_ms(self) -> float:
        """Return the mean duration."""
        return self.total_ms / max(1, self.count)


class RequestStats:
    """Requests by service and route, and database statements."""

    def __init__(self) -> None:
        self._routes: dict[tuple[str, str], Activity] = {}
        self._services: dict[str, Activity] = {}
        self._statements: dict[tuple[str, str], Statement] = {}

    def add(self, span: SpanRecord, *, now_s: float) -> None:
        """Count a span: a request that a service received, or a statement that it executed."""
        if span.is_root_like:
            if (service := _place(self._services, span.service)) is not None:
                service.add(span, now_s=now_s)
            if (route := _route(self._routes, span)) is not None:
                route.add(span, now_s=now_s)
        elif span.statement:
            self._add_statement(span)

    def _add_statement(self, span: SpanRecord) -> None:
        key = span.service, span.statement[:_MAX_TEXT]
        statement = self._statements.get(key)
        if statement is None:
            if len(self._statements) >= _MAX_KEYS:
                return
            statement = self._statements[key] = Statement(*key)
        milliseconds = span.duration_ns / 1e6
        statement.count += 1
        statement.total_ms += milliseconds
        if milliseconds >= statement.max_ms:
            statement.max_ms, statement.trace_id = milliseconds, span.trace_id

    def service(self, name: str) -> Activity:
        """Return the requests of a service."""
        return self._services.get(name) or Activity(name, "")

    def routes(self, service: str = "") -> Iterator[Activity]:
        """Yield the requests by route, the most frequent first."""
        for activity in sorted(self._routes.values(), key=lambda each: -each.total):
            if service in {"", activity.service}:
                yield activity

    def statements(self, service: str = "") -> Iterator[Statement]:
        """Yield the statements, the slowest on average first."""
        for statement in sorted(self._statements.values(), key=lambda each: -each.mean_ms):
            if service in {"", statement.service}:
                yield statement


def _place(services: dict[str, Activity], name: str) -> Activity | None:
    if name not in services and len(services) < _MAX_KEYS:
        services[name] = Activity(name, "")
    return services.get(name)


def _route(routes: dict[tuple[str, str], Activity], span: SpanRecord) -> Activity | None:
    key = span.service, span.route
    if key not in routes and len(routes) < _MAX_KEYS:
        routes[key] = Activity(*key)
    return routes.get(key)
