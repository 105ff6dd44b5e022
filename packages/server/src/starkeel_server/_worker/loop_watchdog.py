"""Tells what blocks a worker's event loop."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread, get_ident

import structlog

from .._ipc.scoreboard import WorkerSlot

log = structlog.get_logger(__name__)

_MOST_FRAMES = 30
_LOOKS = 4
"""Looks within the time that the loop may be blocked."""


@contextmanager
def loop_watchdog(slot: WorkerSlot, *, after_s: float) -> Iterator[None]:
    """Log what this thread, which runs the event loop, is doing whenever the loop does not beat.

    What blocks it in C without letting other threads run cannot be seen from here before it is over; main
    sees that this worker is silent.

    Args:
        slot: Where the loop beats.
        after_s: Seconds without a beat that are too many.
    """
    watch = _LoopWatchdog(slot, after_s, thread=get_ident())
    Thread(target=watch.run, name="stalls", daemon=True).start()
    try:
        yield
    finally:
        watch.is_over.set()


class _LoopWatchdog:
    """Looks at the beats, in a thread of its own."""

    def __init__(self, slot: WorkerSlot, after_s: float, *, thread: int) -> None:
        from prometheus_client import Counter

        self._slot = slot
        self._after_s = after_s
        self._thread = thread
        self._stalls = Counter(
            "starkeel_loop_stalls_total", "Times a worker's event loop was blocked for LOOP_STALL_SECONDS."
        )
        self._longest_s = 0.0
        self.is_over = Event()

    def run(self) -> None:
        """Look until it is over."""
        while not self.is_over.wait(self._after_s / _LOOKS):
            self._look(self._slot.silence_s)

    def _look(self, silence_s: float) -> None:
        if silence_s > self._after_s:
            if not self._longest_s:
                self._tell(silence_s)
            self._longest_s = silence_s
        elif self._longest_s:
            log.warning("event loop went on", worker=self._slot.number, blocked_s=round(self._longest_s, 2))
            self._longest_s = 0.0

    def _tell(self, silence_s: float) -> None:
        self._stalls.inc()
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - how CPython offers it
        stack = traceback.format_stack(frame, limit=_MOST_FRAMES) if frame is not None else []
        log.error(
            "event loop blocked",
            worker=self._slot.number,
            blocked_s=round(silence_s, 2),
            stack="".join(stack),
        )
