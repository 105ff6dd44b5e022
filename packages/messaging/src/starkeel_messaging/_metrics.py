"""Metrics of the events that a service receives.

`prometheus_client` decides at its first import whether values are shared between processes, so that it is
imported when the application starts.
"""

from collections.abc import Iterable
from functools import cache
from typing import Final

_REASONS: Final = ("malformed", "lost")


class ConsumerMetrics:
    """Counters and gauges of a process."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge

        self.received = Counter("consumer_received_total", "Events received from the broker.", ["topic"])
        self.failures = Counter(
            "consumer_failures_total", "Events that could not be received by reason.", ["topic", "reason"]
        )
        # Only the process that receives a topic measures it.
        self.lag = Gauge(
            "consumer_lag",
            "Events that are not received yet.",
            ["topic"],
            multiprocess_mode="livemostrecent",
        )
        self.oldest_s = Gauge(
            "consumer_oldest_seconds",
            "Age of the oldest event that is not received yet.",
            ["topic"],
            multiprocess_mode="livemostrecent",
        )

    def expect(self, topics: Iterable[str]) -> None:
        """Create series that start at 0: `rate()` does not count the first sample as an increase."""
        for topic in topics:
            self.received.labels(topic=topic)
            for reason in _REASONS:
                self.failures.labels(topic=topic, reason=reason)


@cache
def consumer_metrics() -> ConsumerMetrics:
    """Return the metrics of this process."""
    return ConsumerMetrics()
