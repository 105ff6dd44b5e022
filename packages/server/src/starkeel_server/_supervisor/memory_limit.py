"""How much memory workers take."""

import os
import time
from pathlib import Path

import structlog

from .._ipc.worker_process import WorkerProcess
from .rolling_restart import RollingRestart
from .worker_pool import WorkerPool

log = structlog.get_logger(__name__)

LOOK_S = 0.5
"""Seconds between two looks at how much memory each worker takes."""


class MemoryLimit:
    """Notes how much memory each worker takes, and has those replaced that take too much.

    Args:
        pool: The workers.
        rolling_restart: What replaces them.
    """

    def __init__(self, pool: WorkerPool, rolling_restart: RollingRestart) -> None:
        self._pool = pool
        self._rolling_restart = rolling_restart
        self._next_at = 0.0
        self._settled: set[int] = set()
        self._seen: set[int] = set()

    def look(self, limit_bytes: int | None) -> None:
        """Look, no oftener than is worth while.

        Args:
            limit_bytes: Bytes that a worker may take; no limit without it.
        """
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + LOOK_S
        for worker in self._pool.all():
            worker.rss_bytes = resident_bytes(worker.pid) or worker.rss_bytes
        for worker in list(self._pool.serving.values()) if limit_bytes else []:
            self._judge(worker, limit_bytes or 0)

    def _judge(self, worker: WorkerProcess, limit_bytes: int) -> None:
        if not worker.is_up:
            return
        is_new, is_over = worker.pid not in self._seen, worker.rss_bytes > limit_bytes
        self._seen = {other.pid for other in self._pool.all() if other.pid in self._seen or other is worker}
        told = {"index": worker.index, "worker_pid": worker.pid, "rss_bytes": worker.rss_bytes}
        if is_over and is_new:
            # Replacing it would go on for ever.
            self._settled.add(worker.pid)
            log.error("WORKER_MAX_RSS_BYTES is below what a worker needs to start", limit=limit_bytes, **told)
        elif (
            is_over
            and worker.pid not in self._settled
            and not self._rolling_restart.is_requested(worker.index)
        ):
            log.warning("worker takes too much memory and is replaced", limit=limit_bytes, **told)
            # It goes on serving until the new one is ready; once is enough.
            self._settled.add(worker.pid)
            self._rolling_restart.request([worker.index], "memory")


def resident_bytes(pid: int) -> int | None:
    """Bytes of memory that a process takes; none when it has ended or the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
