"""Metrics: what a service counts of its own, and what every service counts.

Importing this imports `prometheus_client`; a process that shares its values with others prepares that before.
"""

from collections.abc import Sequence
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

from .cardinality import CappedCounter, CappedGauge, CappedHistogram

__all__ = ["DURATION_BUCKETS", "counter", "gauge", "histogram"]

DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds; up to the time that a request has by default."""

Combined = Literal["sum", "min", "max", "latest"]
_MODES: dict[Combined, Literal["livesum", "livemin", "livemax", "livemostrecent"]] = {
    "sum": "livesum",
    "min": "livemin",
    "max": "livemax",
    "latest": "livemostrecent",
}


def counter(name: str, documentation: str, *, labels: Sequence[str] = ()) -> Counter:
    """Make a counter, at module level: one of a name exists once in a process.

    Args:
        name: Ends in `_total`.
        documentation: What is counted, a sentence.
        labels: Names of labels; the values of each must be few and known.
    """
    return CappedCounter(name, documentation, labels)


def histogram(
    name: str,
    documentation: str,
    *,
    labels: Sequence[str] = (),
    buckets: Sequence[float] = DURATION_BUCKETS,
) -> Histogram:
    """Make a histogram, at module level.

    Args:
        name: Ends in the unit, `_seconds` or `_bytes`.
        documentation: What is measured, a sentence.
        labels: Names of labels; the values of each must be few and known.
        buckets: Upper bounds, in the unit of the name.
    """
    return CappedHistogram(name, documentation, labels, buckets=buckets)


def gauge(name: str, documentation: str, *, labels: Sequence[str] = (), combined: Combined = "sum") -> Gauge:
    """Make a gauge, at module level. What a process that has ended had set is forgotten.

    Args:
        name: Ends in the unit, where it has one.
        documentation: What is measured, a sentence.
        labels: Names of labels; the values of each must be few and known.
        combined: How the values of several workers become one.
    """
    return CappedGauge(name, documentation, labels, multiprocess_mode=_MODES[combined])
