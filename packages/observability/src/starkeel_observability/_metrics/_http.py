"""What is counted of every request."""

from bisect import bisect_left
from functools import cache
from typing import Final

from . import DURATION_BUCKETS
from ._capped import CappedCounter, CappedGauge, CappedHistogram
from ._cells import cells_of

UNMATCHED: Final = "__unmatched__"
"""The path of requests that no route matches."""
OTHER: Final = "_OTHER"
"""The method of requests whose method nobody knows."""

_METHODS: Final = frozenset(
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"]
)
_LABELS: Final = ("method", "path", "status")


Key = tuple[str, str | None, int]
"""Method as `known_method` has it, template of the route (none when none matched), status of the answer."""


class HttpMetrics:
    """Requests, how long they took, and how many there are right now; of one event loop."""

    def __init__(self) -> None:
        self._requests = CappedCounter("http_requests_total", "Requests answered, or given up.", _LABELS)
        self._durations = CappedHistogram(
            "http_requests_duration_seconds",
            "From the first byte of a request to the last of its answer.",
            _LABELS,
            buckets=DURATION_BUCKETS,
        )
        in_flight = CappedGauge(
            "http_requests_in_flight", "Requests and WebSockets that are open.", multiprocess_mode="livesum"
        )
        self._open, (self._opened,) = cells_of(in_flight.values())
        # Looked up once for each route and outcome: labels() takes a lock and builds keys.
        self._series: dict[Key, _Series] = {}

    def began(self) -> None:
        """Count a request as open."""
        self._open[self._opened] += 1.0

    def ended(self) -> None:
        """Count it so no longer."""
        self._open[self._opened] -= 1.0

    def observe(self, key: Key, duration_s: float) -> None:
        """Count a request.

        Args:
            key: What it was.
            duration_s: Seconds it took.
        """
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._made(*key)
        series.observe(duration_s)

    def _made(self, method: str, route: str | None, status: int) -> "_Series":
        labels = (method, route or UNMATCHED, str(status))
        return _Series(self._requests.labels(*labels), self._durations.labels(*labels))


class _Series:
    """Requests of one route and outcome.

    Args:
        requests: How many.
        durations: How long they took.
    """

    __slots__ = ("_buckets", "_durations", "_number", "_requests", "_sum")

    def __init__(self, requests: CappedCounter, durations: CappedHistogram) -> None:
        self._requests, (self._number,) = cells_of(requests.values())
        self._durations, (self._sum, *self._buckets) = cells_of(durations.values())

    def observe(self, duration_s: float) -> None:
        """Count one."""
        self._requests[self._number] += 1.0
        durations = self._durations
        durations[self._sum] += duration_s
        durations[self._buckets[bisect_left(DURATION_BUCKETS, duration_s)]] += 1.0


@cache
def http_metrics() -> HttpMetrics:
    """The metrics of this process, which all its applications share."""
    return HttpMetrics()


def known_method(method: str) -> str:
    """A method as it may stand in a label: clients send what they like."""
    return method if method in _METHODS else OTHER
