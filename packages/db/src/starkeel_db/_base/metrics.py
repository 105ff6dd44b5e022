"""Prometheus metrics, created on first use.

`prometheus_client` decides at its first import whether metrics are shared between processes, so it is
imported only when a metric is used.
"""

from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge


@cache
def gauge(name: str, text: str, mode: Literal["livemin", "livesum", "mostrecent"], *labels: str) -> "Gauge":
    """Return a gauge, whose `mode` combines the values of several processes."""
    from prometheus_client import Gauge

    return Gauge(name, text, labels, multiprocess_mode=mode)


@cache
def counter(name: str, text: str, *labels: str) -> "Counter":
    """Return a counter."""
    from prometheus_client import Counter

    return Counter(name, text, labels)
