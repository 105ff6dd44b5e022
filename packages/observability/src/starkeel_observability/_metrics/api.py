"""Public functions that create metrics, whose number of series is bounded.

This imports `prometheus_client`, which at import decides whether values are shared between processes.
"""

import time
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, Final, Literal

from opentelemetry import trace
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.samples import Exemplar

from .._compat import check_metric

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds, up to the default request timeout."""

Combined = Literal["sum", "min", "max", "latest"]

_OTHER: Final = "__other__"
"""Label value of the series that stands for all beyond the limit."""
_MAX_SERIES: Final = 1000
"""Limit of label combinations per metric and process."""
EXEMPLAR_INTERVAL_S: Final = 1.0
"""Minimum seconds between two exemplars: scrapes are rarer."""


class _Capped(MetricWrapperBase):
    """Maps label combinations beyond the limit to one series."""

    _value_names: ClassVar[tuple[str, ...]] = ("_value",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check_metric(self, *self._value_names)

    def labels(self: Any, *labelvalues: Any, **labelkwargs: Any) -> Any:
        if len(self._metrics) >= _MAX_SERIES:
            # Invalid arguments raise in the call of the base class.
            named = [labelkwargs.get(name, "") for name in self._labelnames]
            if tuple(map(str, named if labelkwargs else labelvalues)) not in self._metrics:
                labelvalues, labelkwargs = (_OTHER,) * len(self._labelnames), {}
        return super().labels(*labelvalues, **labelkwargs)


class CappedCounter(_Capped, Counter):
    """Counter with a bounded number of series."""


class CappedGauge(_Capped, Gauge):
    """Gauge with a bounded number of series."""


class CappedHistogram(_Capped, Histogram):
    """Histogram with a bounded number of series; exemplars are the traces of its observations."""

    _value_names = ("_sum", "_buckets")
    _exemplar_due = 0.0

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Observe a value; once per second the current trace becomes an exemplar."""
        if exemplar is None:
            now = time.monotonic()
            if now >= self._exemplar_due and (exemplar := _current_trace()) is not None:
                self._exemplar_due = now + EXEMPLAR_INTERVAL_S
        super().observe(amount, exemplar)

    def values(self) -> list[Any]:
        """Return the value objects: the sum, then the count of each bucket, not cumulative."""
        return [self._sum, *self._buckets]

    def set_exemplar(self, bucket: int, amount: float, labels: dict[str, str]) -> None:
        """Set the exemplar of a bucket, given by its index."""
        self._buckets[bucket].set_exemplar(Exemplar(labels, amount, time.time()))


def _current_trace() -> dict[str, str] | None:
    """Return the current trace, if it is sampled, as exemplar labels."""
    span = trace.get_current_span().get_span_context()
    if not span.is_valid or not span.trace_flags.sampled:
        return None
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}


def counter(name: str, documentation: str, *, labels: Sequence[str] = ()) -> Counter:
    """Create a counter; call it at module level, as a name can be registered only once per process.

    Args:
        name: Name with the suffix `_total`.
        documentation: Help text.
        labels: Label names; the values of each must be few and known.
    """
    return CappedCounter(name, documentation, labels)


def histogram(
    name: str, documentation: str, *, labels: Sequence[str] = (), buckets: Sequence[float] = DURATION_BUCKETS
) -> Histogram:
    """Create a histogram, at module level.

    Args:
        name: Name with the unit as suffix: `_seconds` or `_bytes`.
        documentation: Help text.
        labels: Label names; the values of each must be few and known.
        buckets: Upper bounds, in the unit of the name.
    """
    return CappedHistogram(name, documentation, labels, buckets=buckets)


def gauge(name: str, documentation: str, *, labels: Sequence[str] = (), combined: Combined = "sum") -> Gauge:
    """Create a gauge, at module level. Values of processes that have ended are discarded.

    Args:
        name: Name with the unit, if any, as suffix.
        documentation: Help text.
        labels: Label names; the values of each must be few and known.
        combined: How the values of several workers are aggregated.
    """
    mode = "livemostrecent" if combined == "latest" else f"live{combined}"
    return CappedGauge(name, documentation, labels, multiprocess_mode=mode)


@cache
def counter_from_zero(name: str, documentation: str, label: str, values: tuple[str, ...]) -> Counter:
    """Return a counter, every series at 0: `increase()` misses the first value of one that appears later."""
    made = counter(name, documentation, labels=(label,))
    for value in values:
        made.labels(value)
    return made
