"""What is counted of every request."""

from bisect import bisect_left
from functools import cache
from typing import Final

from . import DURATION_BUCKETS
from ._capped import EXEMPLARS_EVERY_S, CappedCounter, CappedGauge, CappedHistogram
from ._cells import cells_of

UNMATCHED: Final = "__unmatched__"
"""The path of requests that no route matches."""
OTHER: Final = "_OTHER"
"""The method of requests whose method nobody knows."""
METHODS: Final = frozenset(
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"]
)
"""Those that may stand in a label: clients send what they like."""
_LABELS: Final = ("method", "path", "status")


Key = tuple[str, str | None, int]
"""Method (`OTHER` if it is none of `METHODS`), template of the route if one matched, status of the answer."""


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
        cells, (place,) = cells_of(in_flight.values())
        self.in_flight = cells, place
        """Where they are counted."""
        # Looked up once for each route and outcome: labels() takes a lock and builds keys.
        self._series: dict[Key, _Series] = {}

    def observe(self, key: Key, began: float, ended: float, trace: bytes) -> None:
        """Count a request.

        Args:
            key: What it was.
            began: Seconds of a clock that nobody sets.
            ended: Seconds of the same.
            trace: Ids of its trace, 16 bytes, and of its span, 8 bytes, when they are sent; else nothing.
        """
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._made(*key)
        series.observe(ended - began, ended, trace)

    def _made(self, method: str, route: str | None, status: int) -> "_Series":
        labels = (method, route or UNMATCHED, str(status))
        return _Series(self._requests.labels(*labels), self._durations.labels(*labels))


class _Series:
    """Requests of one route and outcome.

    Args:
        requests: How many.
        durations: How long they took.
    """

    __slots__ = ("_buckets", "_due", "_durations", "_exemplify", "_number", "_requests", "_sum")

    def __init__(self, requests: CappedCounter, durations: CappedHistogram) -> None:
        self._requests, (self._number,) = cells_of(requests.values())
        self._durations, (self._sum, *self._buckets) = cells_of(durations.values())
        self._exemplify = durations.exemplify
        self._due = [0.0] * len(self._buckets)

    def observe(self, duration_s: float, now: float, trace: bytes) -> None:
        """Count one."""
        self._requests[self._number] += 1.0
        durations = self._durations
        durations[self._sum] += duration_s
        bucket = bisect_left(DURATION_BUCKETS, duration_s)
        durations[self._buckets[bucket]] += 1.0
        if trace and now >= self._due[bucket]:
            self._due[bucket] = now + EXEMPLARS_EVERY_S
            hexed = trace.hex()
            self._exemplify(bucket, duration_s, {"trace_id": hexed[:32], "span_id": hexed[32:]})


@cache
def http_metrics() -> HttpMetrics:
    """The metrics of this process, which all its applications share."""
    return HttpMetrics()
