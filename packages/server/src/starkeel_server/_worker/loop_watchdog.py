"""Watchdog that logs the stack of a blocked event loop."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread, get_ident

import structlog

from .._ipc.scoreboard import WorkerSlot

log = structlog.get_logger(__name__)

_MAX_FRAMES = 30
_CHECKS = 4
"""Checks within the time the loop may be blocked."""


@contextmanager
def loop_watchdog(slot: WorkerSlot, *, after_s: float) -> Iterator[None]:
    """Log the stack of this thread, which runs the event loop, when the loop's heartbeat stops.

    C code that blocks without releasing the GIL is logged only afterwards; the main process detects the
    missing heartbeat.

    Args:
        slot: Slot with the heartbeat.
        after_s: Seconds without a heartbeat after which the loop is blocked.
    """
    watchdog = _LoopWatchdog(slot, after_s, thread=get_ident())
    Thread(target=watchdog.run, name="loop-watchdog", daemon=True).start()
    try:
        yield
    finally:
        watchdog.stopped.set()


class _LoopWatchdog:
    def __init__(self, slot: WorkerSlot, after_s: float, *, thread: int) -> None:
        from prometheus_client import Counter

        self._slot = slot
        self._after_s = after_s
        self._thread = thread
        self._stalls = Counter(
            "starkeel_loop_stalls_total", "Times a worker's event loop was blocked for LOOP_STALL_SECONDS."
        )
        self._longest_s = 0.0
        self.stopped = Event()

    def run(self) -> None:
        """Check the heartbeat until stopped."""
        while not self.stopped.wait(self._after_s / _CHECKS):
            self._check(self._slot.heartbeat_age_s)

    def _check(self, age_s: float) -> None:
        if age_s > self._after_s:
            if not self._longest_s:
                self._report(age_s)
            self._longest_s = age_s
        elif self._longest_s:
            log.warning("event loop resumed", worker=self._slot.number, blocked_s=round(self._longest_s, 2))
            self._longest_s = 0.0

    def _report(self, blocked_s: float) -> None:
        self._stalls.inc()
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - documented by CPython
        stack = traceback.format_stack(frame, limit=_MAX_FRAMES) if frame is not None else []
        log.error(
            "event loop blocked",
            worker=self._slot.number,
            blocked_s=round(blocked_s, 2),
            stack="".join(stack),
        )
