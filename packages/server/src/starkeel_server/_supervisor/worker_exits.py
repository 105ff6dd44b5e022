"""Reports on workers: ends and replacements, and whether the kernel killed them for memory."""

import signal
from collections.abc import Iterator
from pathlib import Path

import structlog

from .._compat import incompatible
from .._ipc.worker_process import WorkerProcess

log = structlog.get_logger(__name__)

_CGROUPS = Path("/sys/fs/cgroup")


class WorkerReports:
    """Logs and counts the unexpected ends of workers, and counts replacements."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._event_files = list(_event_files())
        self._oom_kills = self._count_oom_kills()

    def create_metrics(self) -> None:
        """Check prometheus_client and create the metrics.

        Raises:
            StartError: The installed prometheus_client is not supported.
        """
        try:
            from prometheus_client import Counter

            from .._metrics.shared_values import check_prometheus_client, name_process
        except ImportError as error:
            raise incompatible("prometheus-client", f"ImportError: {error}") from error
        check_prometheus_client(self._directory)
        name_process("main")
        self._exits = Counter("starkeel_worker_exits_total", "Workers that ended unexpectedly.", ["reason"])
        self._replacements = Counter(
            "starkeel_worker_replacements_total", "Workers that were replaced while they served.", ["reason"]
        )
        # Start at 0: Prometheus does not count the first sample of a series as an increase.
        for reason in ("oom", "signal", "error"):
            self._exits.labels(reason)
        for reason in ("reload", "memory"):
            self._replacements.labels(reason)

    def report_replacement(self, reason: str) -> None:
        self._replacements.labels(reason).inc()

    def report_exit(self, worker: WorkerProcess, died: bool) -> None:
        """Log and count an unexpected end; remove the live gauges of the worker and keep its totals."""
        from prometheus_client.multiprocess import mark_process_dead

        if died:
            self._exits.labels(self._log_reason(worker)).inc()
        for identifier in (worker.slot.number, worker.pid):
            mark_process_dead(identifier, path=str(self._directory))  # type: ignore[no-untyped-call]

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
