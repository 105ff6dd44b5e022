"""Samples the memory of workers and replaces those above `WORKER_MAX_RSS_BYTES`."""

import os
import time
from pathlib import Path

import structlog

from .._ipc.worker_process import WorkerProcess
from .rolling_restart import RollingRestart
from .worker_pool import WorkerPool

log = structlog.get_logger(__name__)

SAMPLE_INTERVAL_S = 0.5
"""Seconds between two samples of each worker's memory."""


class MemoryLimit:
    """Records the RSS of each worker and schedules replacements."""

    def __init__(self, pool: WorkerPool, rolling_restart: RollingRestart) -> None:
        self._pool = pool
        self._rolling_restart = rolling_restart
        self._next_sample_at = 0.0
        self._handled: set[int] = set()
        self._sampled: set[int] = set()

    def check(self, limit_bytes: int | None) -> None:
        """Sample the RSS of every worker, at most twice a second, and apply the limit, if any."""
        if time.monotonic() < self._next_sample_at:
            return
        self._next_sample_at = time.monotonic() + SAMPLE_INTERVAL_S
        for worker in self._pool.all():
            worker.rss_bytes = resident_bytes(worker.pid) or worker.rss_bytes
        for worker in list(self._pool.serving.values()) if limit_bytes else []:
            self._apply(worker, limit_bytes or 0)

    def _apply(self, worker: WorkerProcess, limit_bytes: int) -> None:
        if not worker.is_up:
            return
        is_new, is_over = worker.pid not in self._sampled, worker.rss_bytes > limit_bytes
        self._sampled = {
            other.pid for other in self._pool.all() if other.pid in self._sampled or other is worker
        }
        fields = {"index": worker.index, "worker_pid": worker.pid, "rss_bytes": worker.rss_bytes}
        if is_over and is_new:
            # Its replacement would exceed the limit as well.
            self._handled.add(worker.pid)
            log.error(
                "WORKER_MAX_RSS_BYTES is below what a worker needs to start", limit=limit_bytes, **fields
            )
        elif (
            is_over
            and worker.pid not in self._handled
            and not self._rolling_restart.is_requested(worker.index)
        ):
            log.warning("worker exceeded the memory limit and is being replaced", limit=limit_bytes, **fields)
            # It is scheduled only once; it serves until its replacement is ready.
            self._handled.add(worker.pid)
            self._rolling_restart.request([worker.index], "memory")


def resident_bytes(pid: int) -> int | None:
    """Return the RSS of a process; None if it has ended or there is no `/proc`."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
