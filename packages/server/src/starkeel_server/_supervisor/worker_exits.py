"""Tells of workers that have ended, and clears up after them."""

import signal
from collections.abc import Iterator
from pathlib import Path

import structlog

from .._ipc.worker_process import WorkerProcess
from .._metrics import multiprocess
from .._process.runtime_dir import RuntimeDirectory

log = structlog.get_logger(__name__)

_CGROUPS = Path("/sys/fs/cgroup")


class ExitReporter:
    """Tells of workers that have ended, and clears up after them."""

    def __init__(self, directory: RuntimeDirectory, metrics: multiprocess.WorkerMetrics) -> None:
        self._directory = directory
        self._metrics = metrics
        self._oom_kills = OomKills()

    def report(self, worker: WorkerProcess, died: bool) -> None:
        """Note the end of a worker, and tell of it when it was not asked to end."""
        if died:
            self._metrics.count_exit(self._told(worker))
        multiprocess.forget(self._directory.metrics, name=str(worker.slot_number), pid=worker.pid)

    def _told(self, worker: WorkerProcess) -> str:
        code = worker.returncode or 0
        who = {"index": worker.index, "worker_pid": worker.pid, "exit_code": code}
        if code == -signal.SIGKILL and self._oom_kills.is_another():
            log.error(
                "worker killed by the kernel: out of memory",
                signal="SIGKILL",
                oom_kills=self._oom_kills.count(),
                rss_bytes=worker.rss_bytes,
                **who,
            )
            return "oom"
        log.error("worker died", **who)
        return "signal" if code < 0 else "error"


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
