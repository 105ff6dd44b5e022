"""Share of its time in which the event loop's thread executes."""

from time import thread_time_ns
from typing import Final

_WINDOW_NS: Final = 5_000_000
_STALE_NS: Final = 100_000_000
"""Nanoseconds after which a window also contains time in which nothing was measured."""


class LoopTime:
    """Processor time of the calling thread, measured over short windows."""

    def __init__(self) -> None:
        self._began_ns = self._thread_ns = 0
        self._share = 0.0

    def share(self, now: int) -> float:
        """Return the share of the last window in which the thread executed.

        On a busy machine it is below 1 even when the loop always has work: the thread waits for a processor.

        Args:
            now: `perf_counter_ns()`.
        """
        elapsed = now - self._began_ns
        if elapsed > _WINDOW_NS:
            executed = thread_time_ns()
            self._share = (executed - self._thread_ns) / elapsed if elapsed < _STALE_NS else 0.0
            self._began_ns, self._thread_ns = now, executed
        return self._share
