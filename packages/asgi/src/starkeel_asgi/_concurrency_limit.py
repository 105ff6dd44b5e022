"""Adaptive concurrency limits, from the time that requests take."""

from math import inf, sqrt
from typing import Final

MIN_LIMIT: Final = 4
_MIN_SAMPLES: Final = 20
_WINDOW_NS: Final = 100_000_000
_SLACK_NS: Final = 20_000_000
"""Nanoseconds that any request may take longer than usual: those of short ones vary by chance."""
_TOLERANCE: Final = 2
"""Multiple of its usual time that a request may take."""
_STRONGEST_CUT: Final = 0.5
_JUDGED_CUT: Final = 0.7
"""Share of a limit at which the time of requests must have decreased."""
_IMPROVED: Final = 0.8
_MOST_AT_LEAST: Final = 50
"""Number of windows with the smallest limit after which the usual time is no longer valid."""
_UNUSED_NS: Final = 5_000_000_000
"""Nanoseconds without a request at the limit after which there is none."""
_LEARNED: Final = 8
_MEMORY: Final = 64


class RouteTimes:
    """Mean time of a route's requests while few are open, in nanoseconds."""

    __slots__ = ("count", "mean_ns")

    def __init__(self) -> None:
        self.count = 0
        self.mean_ns = 0.0

    def add(self, taken_ns: float) -> None:
        """Add a request that did not wait for others."""
        self.count += 1
        self.mean_ns += (taken_ns - self.mean_ns) / min(self.count, _MEMORY)

    @property
    def is_learned(self) -> bool:
        """Whether enough requests were added."""
        return self.count >= _LEARNED

    def excess(self, taken_ns: float) -> float:
        """Return a time as a multiple of that from which requests wait for one another."""
        return taken_ns / (_TOLERANCE * self.mean_ns + _SLACK_NS)


class ConcurrencyLimit:
    """Number of requests that may execute at a time; infinite until they take longer than usual.

    As the gradient limits of Envoy and Netflix: the limit decreases by the ratio of the usual time to the
    median of a window, and grows by its square root where the time is as usual and the limit is reached.
    Whether a limit helps is verified: where requests take as long although fewer execute, they do not wait
    for one another, and the limit ends.
    """

    def __init__(self) -> None:
        self.limit = inf
        self._excesses: list[float] = []
        self._noted: dict[RouteTimes, None] = {}
        self._most = 0
        self._adjusted_ns = self._reached_ns = 0
        self._cut_from: tuple[float, float] | None = None
        self._at_least = 0

    def begin(self, executing: int, now: int) -> None:
        """Note how many requests execute, including one that begins."""
        if executing > self._most:
            self._most = executing
        if executing >= self.limit:
            self._reached_ns = now

    def note(self, times: RouteTimes, began_ns: int, ended_ns: int) -> None:
        """Note the time of a request; one that began under another limit is ignored."""
        if began_ns < self._adjusted_ns:
            return
        self._excesses.append(times.excess(ended_ns - began_ns))
        self._noted[times] = None
        if len(self._excesses) >= _MIN_SAMPLES and ended_ns - self._adjusted_ns >= _WINDOW_NS:
            self._adjust(ended_ns)

    def expire(self, now: int) -> None:
        """End a limit that no request has reached for a while."""
        if self.limit < inf and now - self._reached_ns > _UNUSED_NS:
            self._end(now)

    def _adjust(self, now: int) -> None:
        excess = sorted(self._excesses)[len(self._excesses) // 2]
        most, noted = self._most, self._noted
        self._restart(now)
        if excess <= 1:
            self._cut_from = None
            if most >= self.limit - 1:
                self.limit += max(1.0, sqrt(self.limit))
        elif self._is_useless(excess):
            for times in noted:
                times.mean_ns *= _TOLERANCE * excess
            self._end(now)
        else:
            allowed = min(self.limit, most)
            if self._cut_from is None and self.limit < inf:
                # Not without a limit: more executed at the end of the window than when it was measured.
                self._cut_from = excess, allowed
            self.limit = max(MIN_LIMIT, allowed * max(_STRONGEST_CUT, 1 / excess))
            self._reached_ns = now

    def _is_useless(self, excess: float) -> bool:
        """Return whether requests take as long although much fewer execute."""
        if self.limit <= MIN_LIMIT:
            self._at_least += 1
            return self._at_least > _MOST_AT_LEAST
        self._at_least = 0
        if self._cut_from is None or self.limit > _JUDGED_CUT * self._cut_from[1]:
            return False
        before, self._cut_from = self._cut_from[0], None
        return excess > _IMPROVED * before

    def _end(self, now: int) -> None:
        self.limit, self._cut_from, self._at_least = inf, None, 0
        self._restart(now)

    def _restart(self, now: int) -> None:
        self._excesses, self._noted, self._most, self._adjusted_ns = [], {}, 0, now
