"""Public functions that create metrics.

This imports `prometheus_client`, which at import decides whether values are shared between processes.
"""

from collections.abc import Sequence
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

from .cardinality import CappedCounter, CappedGauge, CappedHistogram

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds, up to the default request timeout."""

Combined = Literal["sum", "min", "max", "latest"]
_MODES: dict[Combined, Literal["livesum", "livemin", "livemax", "livemostrecent"]] = {
    "sum": "livesum",
    "min": "livemin",
    "max": "livemax",
    "latest": "livemostrecent",
}


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
    return CappedGauge(name, documentation, labels, multiprocess_mode=_MODES[combined])
