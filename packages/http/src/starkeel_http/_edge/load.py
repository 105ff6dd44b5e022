"""Refusals under load: the response, metrics and log lines."""

import time
from collections import Counter as Counts
from collections.abc import Iterable
from math import inf
from random import randint
from typing import Final, Literal

import structlog
from prometheus_client import Counter, Gauge, Histogram
from starkeel_asgi import Exchange, Header

from .._errors.problem import Problem
from .._errors.report import render

log = structlog.get_logger(__name__)

SHED: Final = Counter(
    "load_shed_requests", "Requests that were refused under load, by reason.", ["group", "reason"]
)
WAITED: Final = Histogram(
    "load_queue_seconds",
    "Time that requests waited for their turn, of those that did and began.",
    ["group"],
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 5),
)
LIMIT: Final = Gauge(
    "load_concurrency_limit",
    "Requests that may execute at a time; +Inf while there is no limit.",
    ["group"],
    multiprocess_mode="livesum",
)
EXECUTING: Final = Gauge(
    "load_executing_requests",
    "Requests that execute, of those that began while many were open or under a limit.",
    ["group"],
    multiprocess_mode="livesum",
)
WAITING: Final = Gauge(
    "load_waiting_requests", "Requests that wait for their turn.", ["group"], multiprocess_mode="livesum"
)
_REASONS: Final = ("full", "late")
_DETAIL: Final = "The service is overloaded. Send the request again later."
_QUIET_S: Final = 10.0
"""Seconds without a refusal from which it is over."""
_MAX_RETRY_S: Final = 5
"""Maximum of `Retry-After`; random, so that clients do not all return at the same moment."""


class Shedding:
    """Refuses requests that would wait for too long.

    Args:
        max_wait_s: Seconds that a request may wait for its turn.
        shed_first: Requests without a priority of their own that are refused first.
        groups: Names of the groups of routes.
    """

    def __init__(
        self, max_wait_s: float, shed_first: Literal["reads", "writes", "none"], groups: Iterable[str]
    ) -> None:
        self.max_wait_s = max_wait_s
        self.shed_first: Literal["reads", "writes", "none"] = shed_first
        self._refused_at: dict[str, float] = {}
        self._refused: Counts[str] = Counts()
        for group in groups:
            WAITED.labels(group)
            for reason in _REASONS:
                SHED.labels(group, reason)
            self.measured(group, limit=inf, executing=0, waiting=0)

    def refused(
        self, exchange: Exchange, group: str, reason: Literal["full", "late"]
    ) -> tuple[int, list[Header], bytes]:
        """Return the response to a request that is refused."""
        SHED.labels(group, reason).inc()
        self._refused[group] += 1
        if group not in self._refused_at:
            log.warning("load shedding started", group=group, reason=reason)
        self._refused_at[group] = time.monotonic()
        retry_s = randint(1, _MAX_RETRY_S)  # noqa: S311 - not a secret
        return render(Problem(503, _DETAIL, {"Retry-After": str(retry_s)}), exchange)

    def begun(self, group: str, waited_s: float) -> None:
        """Record how long a request waited for its turn."""
        WAITED.labels(group).observe(waited_s)

    def measured(self, group: str, *, limit: float, executing: int, waiting: int) -> None:
        """Record the state of a group."""
        LIMIT.labels(group).set(limit)
        EXECUTING.labels(group).set(executing)
        WAITING.labels(group).set(waiting)
        at = self._refused_at.get(group)
        if at is not None and time.monotonic() - at > _QUIET_S:
            del self._refused_at[group]
            log.info("load shedding ended", group=group, refused=self._refused.pop(group))
