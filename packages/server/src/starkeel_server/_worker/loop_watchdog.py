"""Heartbeat of a worker's event loop, and a watchdog that logs the stack of a blocked loop."""

import asyncio
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread, get_ident

import structlog

from .._ipc.scoreboard import WorkerSlot

log = structlog.get_logger(__name__)

_MAX_FRAMES = 30
_CHECKS, _HEARTBEATS = 4, 10
"""Checks and minimum heartbeats within the time the loop may be blocked."""
_MAX_INTERVAL_S = 0.1
"""Maximum seconds between two heartbeats, which the admin port expects as well."""


@contextmanager
def loop_watchdog(slot: WorkerSlot, *, after_s: float) -> Iterator[None]:
    """Record heartbeats of the running event loop, and log its stack when they stop.

    C code that blocks without releasing the GIL is logged only afterwards; the main process detects the
    missing heartbeat.

    Args:
        slot: Slot with the heartbeat.
        after_s: Seconds without a heartbeat after which the loop is blocked.
    """
    loop = asyncio.get_running_loop()
    watchdog = _LoopWatchdog(slot, after_s, thread=get_ident())

    def record() -> None:
        slot.record_heartbeat()
        if not watchdog.stopped.is_set():
            loop.call_later(min(after_s / _HEARTBEATS, _MAX_INTERVAL_S), record)

    record()
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
            age_s = self._slot.heartbeat_age_s
            if age_s > self._after_s:
                if not self._longest_s:
                    self._report(age_s)
                self._longest_s = age_s
            elif self._longest_s:
                blocked_s = round(self._longest_s, 2)
                log.warning("event loop resumed", worker=self._slot.number, blocked_s=blocked_s)
                self._longest_s = 0.0

    def _report(self, blocked_s: float) -> None:
        self._stalls.inc()
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - documented by CPython
        stack = "".join(traceback.format_stack(frame, limit=_MAX_FRAMES)) if frame is not None else ""
        log.error("event loop blocked", worker=self._slot.number, blocked_s=round(blocked_s, 2), stack=stack)
