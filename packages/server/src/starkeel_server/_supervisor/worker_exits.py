"""Reports the end of workers: log line, metrics, and whether the kernel killed them for memory."""

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
    """Reports the end of workers: log line, metrics, and whether the kernel killed them for memory."""

    def __init__(self, directory: RuntimeDirectory, metrics: multiprocess.WorkerMetrics) -> None:
        self._directory = directory
        self._metrics = metrics
        self._oom_kills = OomKills()

    def report(self, worker: WorkerProcess, died: bool) -> None:
        """Remove the live gauges of a worker; log and count its end if that was unexpected."""
        if died:
            self._metrics.count_exit(self._log_reason(worker))
        multiprocess.remove_live_gauges(self._directory.metrics, name=str(worker.slot.number), pid=worker.pid)

    def _log_reason(self, worker: WorkerProcess) -> str:
        code = worker.returncode or 0
        fields = {"index": worker.index, "worker_pid": worker.pid, "exit_code": code}
        if code == -signal.SIGKILL and self._oom_kills.has_increased():
            log.error(
                "worker killed by the kernel: out of memory",
                signal="SIGKILL",
                oom_kills=self._oom_kills.count(),
                rss_bytes=worker.rss_bytes,
                **fields,
            )
            return "oom"
        log.error("worker died", **fields)
        return "signal" if code < 0 else "error"


class OomKills:
    """Counter of out-of-memory kills in the control group of this process."""

    def __init__(self) -> None:
        self._files = list(_event_files())
        self._last_count = self.count()

    def count(self) -> int:
        """Return the number of kills so far; 0 if the kernel does not report it."""
        return sum(_oom_kills(path) for path in self._files)

    def has_increased(self) -> bool:
        before, self._last_count = self._last_count, self.count()
        return self._last_count > before


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
