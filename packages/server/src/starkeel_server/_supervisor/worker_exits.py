"""Reports the end of workers: log line, metrics, and whether the kernel killed them for memory."""

import signal
from collections.abc import Iterator
from pathlib import Path

import structlog

from .._ipc.worker_process import WorkerProcess
from .._metrics import multiprocess

log = structlog.get_logger(__name__)

_CGROUPS = Path("/sys/fs/cgroup")


class ExitReporter:
    """Reports the end of workers.

    Args:
        directory: Directory of the metrics files.
    """

    def __init__(self, directory: Path, metrics: multiprocess.WorkerMetrics) -> None:
        self._directory = directory
        self._metrics = metrics
        self._event_files = list(_event_files())
        self._oom_kills = self._count_oom_kills()

    def report(self, worker: WorkerProcess, died: bool) -> None:
        """Remove the live gauges of a worker; log and count its end if that was unexpected."""
        if died:
            self._metrics.count_exit(self._log_reason(worker))
        multiprocess.remove_live_gauges(self._directory, name=str(worker.slot.number), pid=worker.pid)

    def _log_reason(self, worker: WorkerProcess) -> str:
        code = worker.returncode or 0
        fields = {"index": worker.index, "worker_pid": worker.pid, "exit_code": code}
        if code == -signal.SIGKILL:
            before, self._oom_kills = self._oom_kills, self._count_oom_kills()
            if self._oom_kills > before:
                fields |= {"oom_kills": self._oom_kills, "rss_bytes": worker.rss_bytes}
                log.error("worker killed by the kernel: out of memory", signal="SIGKILL", **fields)
                return "oom"
        log.error("worker died", **fields)
        return "signal" if code < 0 else "error"

    def _count_oom_kills(self) -> int:
        """Return the out-of-memory kills of this control group; 0 if the kernel does not report them."""
        return sum(_oom_kills(path) for path in self._event_files)


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
        # In a container the group may be mounted as the root.
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
