"""The pool, as metrics; named as OpenTelemetry's semantic conventions name them.

`prometheus_client` decides at its first import whether values are shared between processes, so it is imported
only where the pool is in use.
"""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from ._pool import ElasticPool

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge


class _Metrics(NamedTuple):
    connections: "Gauge"
    maximum: "Gauge"
    idle_minimum: "Gauge"
    pending: "Gauge"
    timeouts: "Counter"


@cache
def _metrics() -> _Metrics:
    from prometheus_client import Counter, Gauge

    def gauge(name: str, text: str, *labels: str) -> "Gauge":
        return Gauge(f"db_client_connection_{name}", text, labels, multiprocess_mode="livesum")

    return _Metrics(
        gauge("count", "Connections of the pool.", "state"),
        gauge("max", "Connections that may be open."),
        gauge("idle_min", "Connections that are kept open while idle."),
        gauge("pending_requests", "Requests that wait for a connection."),
        Counter("db_client_connection_timeouts_total", "Requests that waited for a connection in vain."),
    )


class PoolMetrics:
    """Tells of one pool.

    Args:
        pool: Which.
        minimum: How many connections it keeps open.
    """

    def __init__(self, pool: ElasticPool, *, minimum: int) -> None:
        self._pool = pool
        self._minimum = minimum
        self._told_timeouts = 0

    def tell(self) -> None:
        """Set the metrics to what the pool is like."""
        metrics, pool = _metrics(), self._pool
        metrics.connections.labels(state="idle").set(pool.checkedin())
        metrics.connections.labels(state="used").set(pool.checkedout())
        metrics.maximum.set(pool.size())
        metrics.idle_minimum.set(self._minimum)
        metrics.pending.set(pool.waiting)
        metrics.timeouts.inc(pool.timeouts - self._told_timeouts)
        self._told_timeouts = pool.timeouts

    def clear(self) -> None:
        """Say that there is no pool any more."""
        metrics = _metrics()
        for state in ("idle", "used"):
            metrics.connections.labels(state=state).set(0)
        for gauge in (metrics.maximum, metrics.idle_minimum, metrics.pending):
            gauge.set(0)
