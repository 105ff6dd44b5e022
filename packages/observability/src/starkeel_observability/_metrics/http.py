"""HTTP metrics of requests."""

from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from itertools import repeat
from operator import itemgetter, sub
from typing import Any, Final

from .._request.request import Key, RequestRecord
from .api import DURATION_BUCKETS, EXEMPLAR_INTERVAL_S, CappedCounter, CappedGauge, CappedHistogram

UNMATCHED: Final = "__unmatched__"
"""Path label of requests that match no route."""
_LABELS: Final = ("method", "path", "status")
_began, _ended = map(itemgetter, (3, 4))
_BUCKETS_NS: Final = tuple(round(bound * 1e9) for bound in DURATION_BUCKETS)
_EXEMPLAR_INTERVAL_NS: Final = round(EXEMPLAR_INTERVAL_S * 1e9)

IsSampled = Callable[[Any, bytes], bool]


class HttpMetrics:
    """Request counts, durations and requests in flight; for use in one event loop."""

    def __init__(self) -> None:
        self._requests = CappedCounter("http_requests_total", "Completed or aborted requests.", _LABELS)
        self._durations = CappedHistogram(
            "http_requests_duration_seconds",
            "Time from the first byte of a request to the last byte of its response.",
            _LABELS,
            buckets=DURATION_BUCKETS,
        )
        self.set_in_flight = CappedGauge(
            "http_requests_in_flight", "Open requests and WebSockets.", multiprocess_mode="livesum"
        ).set
        # Cached per route and outcome: labels() takes a lock and builds keys.
        self._series: dict[Key, _Series] = {}

    def observe(self, key: Key, records: list[RequestRecord], is_sampled: IsSampled) -> None:
        """Count requests with the same key.

        A record with extras has ids only if its trace is sampled; `is_sampled` is called for the others.
        """
        series = self._series.get(key)
        if series is None:
            method, route, status = key
            labels = (method, route or UNMATCHED, str(status))
            series = _Series(self._requests.labels(*labels), self._durations.labels(*labels))
            self._series[key] = series
        series.observe(records, is_sampled)


class _Series:
    """Count and durations of the requests of one key."""

    def __init__(self, requests: CappedCounter, durations: CappedHistogram) -> None:
        self._requests = requests
        self._set_exemplar = durations.set_exemplar
        self._sum, *self._buckets = durations.values()
        self._due = [0] * len(self._buckets)

    def observe(self, records: list[RequestRecord], is_sampled: IsSampled) -> None:
        took_ns = list(map(sub, map(_ended, records), map(_began, records)))
        self._requests.inc(len(records))
        self._sum.inc(sum(took_ns) / 1e9)
        buckets = list(map(bisect_left, repeat(_BUCKETS_NS), took_ns))
        now = records[-1][4]
        for bucket in set(buckets):
            self._buckets[bucket].inc(buckets.count(bucket))
            if now >= self._due[bucket]:
                self._update_exemplar(
                    bucket,
                    [record for record, its in zip(records, buckets, strict=True) if its == bucket],
                    is_sampled,
                )

    def _update_exemplar(self, bucket: int, records: list[RequestRecord], is_sampled: IsSampled) -> None:
        for _, _, _, began, ended, _, ids, _, extras in records:
            if ids and (extras is not None or is_sampled(None, ids)):
                self._due[bucket] = ended + _EXEMPLAR_INTERVAL_NS
                hexed = ids.hex()
                labels = {"trace_id": hexed[:32], "span_id": hexed[32:]}
                self._set_exemplar(bucket, (ended - began) / 1e9, labels)
                return


@cache
def http_metrics() -> HttpMetrics:
    """Return the metrics of this process, shared by all applications in it."""
    return HttpMetrics()
