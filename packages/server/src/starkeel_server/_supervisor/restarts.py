"""Restarts of workers that ended: backoff for each worker index, and when to give up."""

from collections import defaultdict
from dataclasses import dataclass

from starkeel_config import Backoff

MAX_FAILED_STARTS = 5
"""Workers of one index that may end before they are up; then a restart cannot help."""
STABLE_S = 60.0
"""Seconds after which a worker that is up counts as stable: earlier ends of its index are forgotten."""
_BACKOFF = Backoff(base_s=0.1, cap_s=30.0, jitter=0.0)


@dataclass
class Ends:
    """Ends of the workers of one index since the last stable one."""

    deaths: int = 0
    failed_starts: int = 0
    """Workers that ended before they were up."""
    delay_s: float = 0.0
    """Seconds between the last end and the restart."""
    due_at: float = 0.0

    @property
    def is_crash_loop(self) -> bool:
        return self.failed_starts >= MAX_FAILED_STARTS


class Restarts:
    """Decides for each worker index when an ended worker is restarted; times are `time.monotonic()`."""

    def __init__(self) -> None:
        self._ends: dict[int, Ends] = defaultdict(Ends)

    def record_end(self, index: int, *, up_s: float | None, now: float) -> Ends:
        """Record the end of a worker that was up for `up_s` seconds, or never if that is None.

        The restart after the first end of a worker that was up is immediate; each further end doubles the
        delay.
        """
        if up_s is not None and up_s >= STABLE_S:
            self._ends.pop(index, None)
        ends = self._ends[index]
        is_first = not ends.deaths
        ends.delay_s = 0.0 if is_first and up_s is not None else _BACKOFF.pause_s(ends.deaths)
        ends.deaths += 1
        ends.failed_starts += up_s is None
        ends.due_at = now + ends.delay_s
        return ends

    def due_in_s(self, index: int, *, now: float) -> float:
        """Return the seconds until a worker of this index may be started; 0 if that is now."""
        return max(0.0, self._ends[index].due_at - now)
