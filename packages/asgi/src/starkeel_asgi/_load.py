"""Groups of routes: what executes, what waits, and what is refused."""

from collections.abc import Sequence
from math import inf
from typing import Any, Final, Literal, NamedTuple, Protocol

from ._concurrency_limit import ConcurrencyLimit, RouteTimes
from ._exchange.config import Header
from ._fair_queue import FairQueue, Reason, Shares, Turn

AT_ONCE: Final = "starkeel_asgi.at_once"
"""Key in a handler's `opt`; with `True` its requests never wait for their turn, as those of probes."""
LOAD_GROUP: Final = "starkeel_asgi.load_group"
"""Key in a handler's `opt`: the name of its group."""
DEFAULT_GROUP: Final = "default"
"""The group of handlers without one."""
LOAD_PRIORITY: Final = "starkeel_asgi.load_priority"
"""Key in a handler's `opt`: its `LoadPriority`; by default it depends on the method."""

LoadPriority = Literal["low", "normal", "high"]

_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_RANKS: Final = {"low": 0, "normal": 2, "high": 4}
_FIRST_RANK: Final = 1
_LATER_RANK: Final = 3
_MIN_QUEUE: Final = 64
_LATE: Final = 2
"""Multiple of `max_wait_s` after which a request that waits is refused."""
_MEASURE_NS: Final = 250_000_000
_ACTIVE_NS: Final = 12_000_000_000
"""Nanoseconds for which a group is measured after its last queue or limit."""


class LoadPolicy(Protocol):
    """Decides which requests are refused, and receives what is measured."""

    max_wait_s: float
    """Seconds that a request may wait for its turn."""
    shed_first: Literal["reads", "writes", "none"]
    """The requests without a priority of their own that are refused first."""

    def refused(self, exchange: Any, group: str, reason: Reason, /) -> tuple[int, list[Header], bytes]:
        """Return the response to a request that is refused."""

    def begun(self, group: str, waited_s: float, /) -> None:
        """Note how long a request waited for its turn."""

    def measured(self, group: str, /, *, limit: float, executing: int, waiting: int) -> None:
        """Note the state of a group, several times a second while it is loaded and a while after."""


class RouteLoad(NamedTuple):
    """Group, priority and usual time of a handler.

    Attributes:
        priority: That of its route options, `None` for that of the method.
    """

    group: "Group"
    priority: int | None
    times: RouteTimes
    never_waits: bool


class Group:
    """Routes that share a limit.

    Attributes:
        executing: Requests that execute, of those that were admitted while many were open.
        is_active: Whether it had a queue or a limit a short time ago.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue = FairQueue()
        self.limit = ConcurrencyLimit()
        self.executing = 0
        self._rate: float | None = None
        self._completed = self._since_ns = 0
        self._is_waiting = self.is_active = False
        self._active_until_ns = 0

    @property
    def is_full(self) -> bool:
        """Whether a request that arrives must wait for others of the group."""
        return self.executing + self.queue.count >= self.limit.limit

    @property
    def is_at_limit(self) -> bool:
        """Whether as many requests execute as may."""
        return self.executing + 1 > self.limit.limit

    def begin(self, turn: Turn, now: int) -> None:
        """Count a request."""
        turn.began_ns = now
        self.executing += 1
        self.limit.begin(self.executing, now)

    def end(self) -> None:
        """Count a request no longer."""
        self.executing -= 1
        self._completed += 1

    def most_waiting(self, max_wait_s: float) -> float:
        """Return the number of requests that can begin in a time, or infinity while it is not known."""
        return inf if self._rate is None else max(_MIN_QUEUE, self._rate * max_wait_s)

    def grant(self, count: int, shares: Shares, now: int) -> int:
        """Begin the next requests, at most `count`; return how many."""
        room = self.limit.limit - self.executing
        granted: Sequence[Turn] = ()
        if self.queue.count and room >= 1:
            granted = self.queue.grant(int(min(count, room)), shares, now)
        for turn in granted:
            self.begin(turn, now)
            turn.end_wait(None)
        return len(granted)

    def measure(self, now: int, policy: LoadPolicy, most: float) -> None:
        """Measure the rate while requests wait, end an unused limit, and report."""
        self.limit.expire(now)
        passed = now - self._since_ns
        if passed < _MEASURE_NS:
            return
        if self._is_waiting and self.queue.count and self._completed and passed < 2 * _MEASURE_NS:
            rate = self._completed * 1e9 / passed
            self._rate = rate if self._rate is None else (self._rate + rate) / 2
        self._completed, self._since_ns, self._is_waiting = 0, now, self.queue.count > 0
        if self._is_waiting or self.limit.limit < inf:
            self._active_until_ns = now + _ACTIVE_NS
        was_active, self.is_active = self.is_active, now < self._active_until_ns
        if self.is_active or was_active:
            limit, executing, waiting = min(most, self.limit.limit), self.executing, self.queue.count
            policy.measured(self.name, limit=limit, executing=executing, waiting=waiting)


class Load:
    """The groups of an application's routes."""

    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}
        self._routes: dict[Any, RouteLoad] = {}

    @property
    def is_active(self) -> bool:
        """Whether a group must be measured."""
        return any(group.is_active for group in self.groups.values())

    @property
    def is_limited(self) -> bool:
        """Whether a group has a limit."""
        return any(group.limit.limit < inf for group in self.groups.values())

    def of(self, handler: Any) -> RouteLoad:
        """Return what decides about the requests of a handler."""
        found = self._routes.get(handler)
        if found is None:
            name = handler.opt.get(LOAD_GROUP, DEFAULT_GROUP)
            group = self.groups.get(name) or self.groups.setdefault(name, Group(name))
            priority = handler.opt.get(LOAD_PRIORITY)
            rank = None if priority is None else _RANKS[priority]
            found = RouteLoad(group, rank, RouteTimes(), bool(handler.opt.get(AT_ONCE)))
            self._routes[handler] = found
        return found


def rank_of(load: RouteLoad, method: str, policy: LoadPolicy | None) -> int:
    """Return the rank of a request; those with the lowest are refused first."""
    if load.priority is not None:
        return load.priority
    if policy is None or policy.shed_first == "none":
        return _RANKS["normal"]
    is_first = (method in _READS) == (policy.shed_first == "reads")
    return _FIRST_RANK if is_first else _LATER_RANK


def is_late(turn: Turn, now: int, policy: LoadPolicy) -> bool:
    """Return whether a request has waited for too long."""
    return now - turn.since_ns > _LATE * policy.max_wait_s * 1e9
