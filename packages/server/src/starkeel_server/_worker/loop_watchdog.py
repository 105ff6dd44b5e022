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
    """Record heartbeats of the running event loop, and log its stack after `after_s` seconds without one.

    C code that blocks without releasing the GIL is logged only afterwards; the main process detects the
    missing heartbeat.
    """
    from prometheus_client import Counter

    stalls = Counter(
        "starkeel_loop_stalls_total", "Times a worker's event loop was blocked for LOOP_STALL_SECONDS."
    )
    loop, loop_thread, stopped = asyncio.get_running_loop(), get_ident(), Event()

    def record() -> None:
        slot.record_heartbeat()
        if not stopped.is_set():
            loop.call_later(min(after_s / _HEARTBEATS, _MAX_INTERVAL_S), record)

    def watch() -> None:
        longest_s = 0.0
        while not stopped.wait(after_s / _CHECKS):
            age_s = slot.heartbeat_age_s
            if age_s > after_s:
                if not longest_s:
                    stalls.inc()
                    _log_blocked(slot, age_s, loop_thread)
                longest_s = age_s
            elif longest_s:
                log.warning("event loop resumed", worker=slot.number, blocked_s=round(longest_s, 2))
                longest_s = 0.0

    record()
    Thread(target=watch, name="loop-watchdog", daemon=True).start()
    try:
        yield
    finally:
        stopped.set()


def _log_blocked(slot: WorkerSlot, blocked_s: float, thread: int) -> None:
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - documented by CPython
    stack = "".join(traceback.format_stack(frame, limit=_MAX_FRAMES)) if frame is not None else ""
    log.error("event loop blocked", worker=slot.number, blocked_s=round(blocked_s, 2), stack=stack)
