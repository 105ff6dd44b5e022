"""The outbox, as metrics; see `_metrics` for why the import is late."""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge


class _Metrics(NamedTuple):
    published: "Counter"
    failures: "Counter"
    pending: "Gauge"
    dead: "Gauge"
    oldest: "Gauge"


@cache
def _metrics() -> _Metrics:
    from prometheus_client import Counter, Gauge

    def gauge(name: str, text: str) -> "Gauge":
        # Every worker counts the same rows.
        return Gauge(f"outbox_{name}", text, multiprocess_mode="mostrecent")

    return _Metrics(
        Counter("outbox_published_total", "Events published."),
        Counter("outbox_failures_total", "Attempts to publish that failed.", ["reason"]),
        gauge("pending", "Events that are not published yet."),
        gauge("dead_letters", "Events that were put aside."),
        gauge("oldest_pending_seconds", "Age of the oldest event that is not published yet."),
    )


class OutboxMetrics:
    """Tells of one outbox."""

    def __init__(self) -> None:
        self.published = _metrics().published
        self.failures = _metrics().failures
        # From 0 on: the first of a series that is born at 1 is no increase to those who watch.
        for reason in ("away", "refused"):
            self.failures.labels(reason=reason)

    def tell(self, *, pending: int, dead: int, oldest_s: float) -> None:
        """Set what was counted.

        Args:
            pending: Events not published yet.
            dead: Events put aside.
            oldest_s: Seconds since the oldest of the pending.
        """
        metrics = _metrics()
        metrics.pending.set(pending)
        metrics.dead.set(dead)
        metrics.oldest.set(oldest_s)
