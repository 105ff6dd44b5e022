"""What is counted of every request."""

from functools import cache
from typing import Final

from prometheus_client import Counter, Histogram

from . import counter, gauge, histogram

UNMATCHED: Final = "__unmatched__"
"""The path of requests that no route matches."""
OTHER: Final = "_OTHER"
"""The method of requests whose method nobody knows."""

_METHODS: Final = frozenset(
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"]
)
_LABELS: Final = ("method", "path", "status")


class HttpMetrics:
    """Requests, how long they took, and how many there are right now."""

    def __init__(self) -> None:
        self._requests = counter("http_requests_total", "Requests answered, or given up.", labels=_LABELS)
        self._durations = histogram(
            "http_requests_duration_seconds",
            "From the first byte of a request to the last of its answer.",
            labels=_LABELS,
        )
        in_flight = gauge("http_requests_in_flight", "Requests and WebSockets that are open.")
        self.began = in_flight.inc
        self.ended = in_flight.dec
        # Looked up once for each route and outcome: labels() takes a lock and builds keys.
        self._children: dict[tuple[str, str | None, int], tuple[Counter, Histogram]] = {}

    def observe(self, *, method: str, route: str | None, status: int, duration_s: float) -> None:
        """Count a request.

        Args:
            method: As `known_method` has it.
            route: Template of the route; None when none matched.
            status: Of its answer.
            duration_s: Seconds it took.
        """
        key = (method, route, status)
        children = self._children.get(key)
        if children is None:
            labels = (method, route or UNMATCHED, str(status))
            children = self._children[key] = (self._requests.labels(*labels), self._durations.labels(*labels))
        children[0].inc()
        children[1].observe(duration_s)


@cache
def http_metrics() -> HttpMetrics:
    """The metrics of this process, which all its applications share."""
    return HttpMetrics()


def known_method(method: str) -> str:
    """A method as it may stand in a label: clients send what they like."""
    return method if method in _METHODS else OTHER
