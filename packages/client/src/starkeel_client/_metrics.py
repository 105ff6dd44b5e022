"""Metrics of an upstream; its name is the only label that depends on the application.

`prometheus_client` decides at its first import whether metrics are shared between processes, so it is
imported only when the application starts.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

from ._breaker import State
from ._compat import Connections

if TYPE_CHECKING:
    from prometheus_client import Counter, Gauge, Histogram

Outcome = Literal[
    "answered",
    "cancelled",
    "connection_error",
    "invalid",
    "limited",
    "no_connection",
    "rejected",
    "timeout",
    "unavailable",
]
"""Result of a request to an upstream."""

Winner = Literal["first", "second", "none"]
"""Which request of a hedged call was answered first."""

_WINNERS: Final[tuple[Winner, ...]] = get_args(Winner)
_OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
_STATES: Final[tuple[State, ...]] = get_args(State)
_DURATION_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class UpstreamMetrics:
    """The series of one upstream, all of them from the start: `increase()` misses a first value.

    Args:
        upstream: Name of the upstream.
    """

    def __init__(self, upstream: str) -> None:
        families = _families()
        self._requests = {outcome: families.requests.labels(upstream, outcome) for outcome in _OUTCOMES}
        self._duration = families.duration.labels(upstream)
        self._retries = families.retries.labels(upstream)
        self._retries_refused = families.retries_refused.labels(upstream)
        self._hedged = {winner: families.hedged.labels(upstream, winner) for winner in _WINNERS}
        self._waiting = families.waiting.labels(upstream)
        self._in_flight = families.in_flight.labels(upstream)
        self._breaker = {state: families.breaker.labels(upstream, state) for state in _STATES}
        self._connections = {
            state: families.connections.labels(upstream, state) for state in Connections._fields
        }

    def count(self, outcome: Outcome, seconds: float | None = None) -> None:
        """Count a request, and its duration if it was sent."""
        self._requests[outcome].inc()
        if seconds is not None:
            self._duration.observe(seconds)

    def count_retry(self) -> None:
        """Count a retry."""
        self._retries.inc()

    def count_refused_retry(self) -> None:
        """Count a retry or second request that the budget did not allow."""
        self._retries_refused.inc()

    def count_hedged(self, winner: Winner) -> None:
        """Count a call with a second request."""
        self._hedged[winner].inc()

    def set_gauges(
        self, *, breaker: State | None, in_flight: int, waiting: int, connections: Connections | None
    ) -> None:
        """Set the gauges.

        Args:
            breaker: `None` when the worker stops.
            in_flight: Number of requests that have not ended.
            waiting: Number of requests that wait for one of them to end.
            connections: `None` if unknown.
        """
        self._waiting.set(waiting)
        self._in_flight.set(in_flight)
        for state, gauge in self._breaker.items():
            gauge.set(state == breaker)
        if connections is not None:
            for name, value in connections._asdict().items():
                self._connections[name].set(value)


class _Families(NamedTuple):
    requests: "Counter"
    duration: "Histogram"
    retries: "Counter"
    retries_refused: "Counter"
    hedged: "Counter"
    waiting: "Gauge"
    in_flight: "Gauge"
    breaker: "Gauge"
    connections: "Gauge"


@cache
def _families() -> _Families:
    from prometheus_client import Counter, Gauge, Histogram

    # The values of workers are added up.
    shared: dict[str, Any] = {"multiprocess_mode": "livesum"}
    return _Families(
        Counter(
            "upstream_requests_total",
            "Requests to the upstream, each retry included, and those that breaker or limit rejected.",
            ["upstream", "outcome"],
        ),
        Histogram(
            "upstream_request_duration_seconds",
            "Time until the upstream's response was read completely, or the request failed.",
            ["upstream"],
            buckets=_DURATION_BUCKETS,
        ),
        Counter("upstream_retries_total", "Retries of requests to the upstream.", ["upstream"]),
        Counter(
            "upstream_retries_refused_total",
            "Retries and hedged requests that the retry budget did not allow.",
            ["upstream"],
        ),
        Counter(
            "upstream_hedged_requests_total",
            "Reads that were sent a second time, by the request that was answered first.",
            ["upstream", "winner"],
        ),
        Gauge(
            "upstream_requests_waiting",
            "Requests to the upstream that wait, because MAX_REQUESTS are open.",
            ["upstream"],
            **shared,
        ),
        Gauge(
            "upstream_requests_in_flight",
            "Requests to the upstream that have not ended.",
            ["upstream"],
            **shared,
        ),
        Gauge(
            "upstream_breaker_workers",
            "Workers whose breaker of the upstream is in this state.",
            ["upstream", "state"],
            **shared,
        ),
        Gauge(
            "upstream_connections",
            "Connections to the upstream, used and idle, and requests that wait for one.",
            ["upstream", "state"],
            **shared,
        ),
    )
