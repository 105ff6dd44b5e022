"""How much memory workers take, and whether the kernel ended one for it."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import structlog

from ._crew import Crew
from ._turnover import Turnover
from ._workers import Worker

log = structlog.get_logger(__name__)

LOOK_S = 0.5
"""Seconds between two looks at how much memory each worker takes."""
_CGROUPS = Path("/sys/fs/cgroup")


class MemoryWatch:
    """Notes how much memory each worker takes, and has those replaced that take too much.

    Args:
        crew: The workers.
        turnover: What replaces them.
    """

    def __init__(self, crew: Crew, turnover: Turnover) -> None:
        self._crew = crew
        self._turnover = turnover
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
        for worker in self._crew.all():
            worker.rss_bytes = resident_bytes(worker.pid) or worker.rss_bytes
        for worker in list(self._crew.serving.values()) if limit_bytes else []:
            self._judge(worker, limit_bytes or 0)

    def _judge(self, worker: Worker, limit_bytes: int) -> None:
        if not worker.is_up:
            return
        is_new, is_over = worker.pid not in self._seen, worker.rss_bytes > limit_bytes
        self._seen = {other.pid for other in self._crew.all() if other.pid in self._seen or other is worker}
        told = {"index": worker.index, "worker_pid": worker.pid, "rss_bytes": worker.rss_bytes}
        if is_over and is_new:
            # Replacing it would go on for ever.
            self._settled.add(worker.pid)
            log.error("WORKER_MAX_RSS_BYTES is below what a worker needs to start", limit=limit_bytes, **told)
        elif is_over and worker.pid not in self._settled and not self._turnover.is_wanted(worker.index):
            log.warning("worker takes too much memory and is replaced", limit=limit_bytes, **told)
            # It goes on serving until the new one is ready; once is enough.
            self._settled.add(worker.pid)
            self._turnover.want([worker.index], "memory")


class OomKills:
    """Tells whether the kernel has killed a process of this one's control group for memory."""

    def __init__(self) -> None:
        self._files = list(_event_files())
        self._known = self.count()

    def count(self) -> int:
        """How many it has killed so far; 0 when it does not say."""
        return sum(_oom_kills(path) for path in self._files)

    def is_another(self) -> bool:
        """Whether there was one more since this was asked last."""
        before, self._known = self._known, self.count()
        return self._known > before


def resident_bytes(pid: int) -> int | None:
    """Bytes of memory that a process takes; none when it has ended or the system does not tell."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _event_files() -> Iterator[Path]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for _, controllers, group in (line.split(":", 2) for line in lines):
        name = "memory.oom_control" if controllers else "memory.events"
        if controllers and "memory" not in controllers.split(","):
            continue
        top = _CGROUPS / "memory" if controllers else _CGROUPS
        # A container may see its group as the root, whatever the host calls it.
        for file in (top / group.lstrip("/") / name, top / name):
            if file.is_file():
                yield file
                break


def _oom_kills(file: Path) -> int:
    try:
        fields = dict(line.split() for line in file.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(fields.get("oom_kill", 0))
