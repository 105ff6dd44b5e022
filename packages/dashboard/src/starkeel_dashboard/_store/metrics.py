"""Series of metrics, each over the whole session with a fixed number of points."""

from array import array
from collections.abc import Iterator, Sequence
from typing import Final, Literal

import msgspec

from .quantiles import quantile

Kind = Literal["gauge", "counter", "histogram"]
Labels = tuple[tuple[str, str], ...]
QUANTILES: Final = (0.5, 0.95, 0.99)
_MAX_POINTS: Final = 240


class Histogram(msgspec.Struct, frozen=True):
    """Cumulative values of a histogram."""

    count: float
    sum: float
    bounds: tuple[float, ...]
    """Upper bounds, without infinity."""
    buckets: tuple[float, ...]
    """Number of values in each bucket, not cumulative; one more than bounds."""


class Series(msgspec.Struct):
    """Points of one series: value of a gauge, rate of a counter, rate and quantiles of a histogram."""

    service: str
    name: str
    labels: Labels
    kind: Kind
    unit: str
    description: str
    times: "array[float]"
    columns: "list[array[float]]"
    latest: float = 0.0
    """Latest value of a gauge or counter; the number of values of a histogram."""
    interval_s: float = 0.0
    """Smallest distance between two points; it doubles each time the points are thinned out."""
    before: tuple[float, Histogram] | None = None
    """Time and value from which the next rate is computed."""

    def add(self, at_s: float, value: Histogram) -> None:
        """Add what was read at a time, in seconds since 1970."""
        self.latest = value.sum if self.kind == "gauge" else value.count
        if self.kind == "gauge":
            self._append(at_s, (value.sum,))
            return
        if self.before is None:
            self.before = (at_s, value)
            return
        earlier_s, earlier = self.before
        if at_s - earlier_s < max(0.5, self.interval_s):
            return
        self.before = (at_s, value)
        change = _difference(value, earlier)
        rate = change.count / (at_s - earlier_s)
        if self.kind == "counter":
            self._append(at_s, (rate,))
            return
        self._append(
            at_s, (rate, *(quantile(change.bounds, change.buckets, share=share) for share in QUANTILES))
        )

    def _append(self, at_s: float, values: Sequence[float]) -> None:
        if self.times and at_s - self.times[-1] < self.interval_s:
            return
        self.times.append(at_s)
        for column, value in zip(self.columns, values, strict=True):
            column.append(value)
        if len(self.times) > _MAX_POINTS:
            self.interval_s = max(1.0, 2 * (self.times[-1] - self.times[0]) / len(self.times))
            for points in (self.times, *self.columns):
                del points[1::2]


class MetricStore:
    """Series by service, name and labels.

    Args:
        max_series: Number of series; further ones are dropped.
    """

    def __init__(self, max_series: int) -> None:
        self._max_series = max_series
        self._series: dict[tuple[str, str, Labels], Series] = {}
        self._totals: dict[tuple[str, str, Labels], Histogram] = {}
        self.dropped = 0
        """Values of series that are not kept."""

    def add(
        self,
        key: tuple[str, str, Labels],
        value: Histogram,
        *,
        at_s: float,
        kind: Kind,
        unit: str = "",
        description: str = "",
    ) -> None:
        """Add a value to a series.

        Args:
            key: Service, name and labels.
            value: Cumulative value; a gauge is the sum, a counter is the count.
            at_s: Time in seconds since 1970.
            kind: Kind of the metric.
            unit: Its unit.
            description: Its meaning.
        """
        series = self._series.get(key)
        if series is None:
            if len(self._series) >= self._max_series:
                self.dropped += 1
                return
            columns = [array("d") for _ in range(1 + len(QUANTILES) * (kind == "histogram"))]
            series = Series(*key, kind, unit, description, array("d"), columns)
            self._series[key] = series
        if series.kind == kind:
            series.add(at_s, value)

    def accumulate(self, key: tuple[str, str, Labels], change: Histogram) -> Histogram:
        """Return the cumulative value of a series of which only changes are received."""
        total = self._totals.get(key)
        if total is not None and total.bounds == change.bounds:
            buckets = tuple(a + b for a, b in zip(total.buckets, change.buckets, strict=False))
            change = Histogram(total.count + change.count, total.sum + change.sum, change.bounds, buckets)
        if total is not None or len(self._totals) < self._max_series:
            self._totals[key] = change
        return change

    def select(self, *, service: str = "", text: str = "") -> Iterator[Series]:
        """Yield the series of a service and with a text in their name or labels, by name.

        Args:
            service: Name of the service; empty for all.
            text: Part of the name or of a label, in lower case.
        """
        for _, series in sorted(self._series.items(), key=lambda item: (item[0][1], item[0][0], item[0][2])):
            if service and series.service != service:
                continue
            if text and text not in f"{series.name} {series.labels}".lower():
                continue
            yield series

    def value(self, service: str, name: str, **labels: str) -> float | None:
        """Return the latest value of a series, the sum over other labels; `None` if there is none."""
        expected = labels.items()
        found = [
            series.latest
            for series in self._series.values()
            if series.service == service and series.name == name and expected <= dict(series.labels).items()
        ]
        return sum(found) if found else None

    def quantile(self, service: str, name: str) -> float | None:
        """Return the latest p99 of a histogram, the highest of its series; `None` if there is none."""
        found = [
            series.columns[-1][-1]
            for series in self._series.values()
            if series.service == service and series.name == name and len(series.columns) > 1 and series.times
        ]
        return max(found, default=None)

    @property
    def count(self) -> int:
        """Return the number of series."""
        return len(self._series)


def _difference(later: Histogram, earlier: Histogram) -> Histogram:
    """Return what has been added; all of it if the process has been restarted."""
    if later.count < earlier.count or later.bounds != earlier.bounds:
        return later
    buckets = tuple(max(0.0, a - b) for a, b in zip(later.buckets, earlier.buckets, strict=False))
    return Histogram(later.count - earlier.count, later.sum - earlier.sum, later.bounds, buckets)
