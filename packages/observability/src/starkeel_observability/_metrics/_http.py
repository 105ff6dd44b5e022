"""What is counted of every request."""

from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from itertools import repeat
from operator import itemgetter, sub
from typing import TYPE_CHECKING, Any, Final

from . import DURATION_BUCKETS
from ._capped import EXEMPLARS_EVERY_S, CappedCounter, CappedGauge, CappedHistogram
from ._cells import cells_of

if TYPE_CHECKING:
    from starkeel_observability._report import Report

UNMATCHED: Final = "__unmatched__"
"""The path of requests that no route matches."""
OTHER: Final = "_OTHER"
"""The method of requests whose method nobody knows."""
METHODS: Final = frozenset(
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"]
)
"""Those that may stand in a label: clients send what they like."""
_LABELS: Final = ("method", "path", "status")
_began, _ended = map(itemgetter, (3, 4))
_BUCKETS_NS: Final = tuple(round(bound * 1e9) for bound in DURATION_BUCKETS)
_EXEMPLARS_EVERY_NS: Final = round(EXEMPLARS_EVERY_S * 1e9)


Key = tuple[str, str | None, int]
"""Method (`OTHER` if it is none of `METHODS`), template of the route if one matched, status of the answer."""


IsSent = Callable[[Any, bytes], bool]


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
        self._in_flight, (self._open,) = cells_of(in_flight.values())
        # Looked up once for each route and outcome: labels() takes a lock and builds keys.
        self._series: dict[Key, _Series] = {}

    def observe(self, key: Key, seen: "list[Report]", is_sent: IsSent) -> None:
        """Count requests that were alike.

        Args:
            key: What they were.
            seen: They themselves; where there is more about one, it has ids only if its trace is sent.
            is_sent: Whether the trace of one about which there is no more is sent, given its ids.
        """
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._made(*key)
        series.observe(seen, is_sent)

    def set_in_flight(self, count: int) -> None:
        """Tell how many there are."""
        self._in_flight[self._open] = float(count)

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
        self._due = [0] * len(self._buckets)

    def observe(self, seen: "list[Report]", is_sent: IsSent) -> None:
        """Count some."""
        durations = self._durations
        took_ns = list(map(sub, map(_ended, seen), map(_began, seen)))
        self._requests[self._number] += len(seen)
        durations[self._sum] += sum(took_ns) / 1e9
        buckets = list(map(bisect_left, repeat(_BUCKETS_NS), took_ns))
        now = seen[-1][4]
        for bucket in set(buckets):
            durations[self._buckets[bucket]] += buckets.count(bucket)
            if now >= self._due[bucket]:
                in_it = [
                    report for report, its_bucket in zip(seen, buckets, strict=True) if its_bucket == bucket
                ]
                self._exemplify_one(bucket, in_it, is_sent)

    def _exemplify_one(self, bucket: int, seen: "list[Report]", is_sent: IsSent) -> None:
        for _, _, _, began, ended, _, ids, _, more in seen:
            if ids and (more is not None or is_sent(None, ids)):
                self._due[bucket] = ended + _EXEMPLARS_EVERY_NS
                hexed = ids.hex()
                self._exemplify(
                    bucket, (ended - began) / 1e9, {"trace_id": hexed[:32], "span_id": hexed[32:]}
                )
                return


@cache
def http_metrics() -> HttpMetrics:
    """The metrics of this process, which all its applications share."""
    return HttpMetrics()
