"""What a process uses, told for main and each worker.

`prometheus_client` has collectors for this, which report the process that is scraped only: main.
"""

import gc
import os
import resource
import threading
from functools import cache
from pathlib import Path
from typing import Final

from prometheus_client import Counter, Gauge

_EVERY_S: Final = 5.0
_PAGE: Final = resource.getpagesize()
_TICK: Final = os.sysconf("SC_CLK_TCK")
_FILES: Final = Path("/proc/self/fd")
_STAT: Final = Path("/proc/self/stat")
_PROC_STAT: Final = Path("/proc/stat")


class _Metrics:
    """Registered nowhere: the default registry holds collectors of these names, which main does not show."""

    def __init__(self) -> None:
        self.cpu = _counter("process_cpu_seconds_total", "CPU time used.")
        self.memory = _gauge("process_resident_memory_bytes", "Memory in use.")
        self.files = _gauge("process_open_fds", "Open files.")
        self.max_files = _gauge("process_max_fds", "Files that may be open.")
        self.threads = _gauge("process_threads", "Threads.")
        self.started = _gauge("process_start_time_seconds", "When it was started, since 1970.")
        self.collections = _counter("python_gc_collections_total", "Garbage collections.", "generation")
        self.collected = _counter(
            "python_gc_objects_collected_total", "Objects collected as garbage.", "generation"
        )


def _counter(name: str, documentation: str, *labels: str) -> Counter:
    return Counter(name, documentation, ["process", *labels], registry=None)


def _gauge(name: str, documentation: str) -> Gauge:
    return Gauge(name, documentation, ["process"], registry=None, multiprocess_mode="livesum")


_metrics = cache(_Metrics)


class ProcessMetrics:
    """Measures this process every few seconds.

    Args:
        process: What it is called: `main`, or `worker-0`.
    """

    def __init__(self, process: str) -> None:
        self._process = process
        self._stopped = threading.Event()
        self._cpu_s = 0.0
        self._gc: dict[int, tuple[int, int]] = {}

    def start(self) -> None:
        """Measure, now and from time to time."""
        if not _STAT.exists():
            return
        self.measure()
        threading.Thread(target=self._run, name="process-metrics", daemon=True).start()

    def stop(self) -> None:
        """Measure no more."""
        self._stopped.set()

    def measure(self) -> None:
        """Measure once."""
        # The name, in parentheses, may hold anything; numbers follow.
        stat = _STAT.read_text().rpartition(")")[2].split()
        made, process = _metrics(), self._process
        cpu_s = (int(stat[11]) + int(stat[12])) / _TICK
        made.cpu.labels(process).inc(max(0.0, cpu_s - self._cpu_s))
        self._cpu_s = cpu_s
        made.threads.labels(process).set(int(stat[17]))
        made.started.labels(process).set(_booted_at() + int(stat[19]) / _TICK)
        made.memory.labels(process).set(int(stat[21]) * _PAGE)
        made.files.labels(process).set(sum(1 for _ in _FILES.iterdir()))
        made.max_files.labels(process).set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        self._measure_gc(made)

    def _measure_gc(self, made: _Metrics) -> None:
        for generation, stats in enumerate(gc.get_stats()):
            now = (stats["collections"], stats["collected"])
            before = self._gc.get(generation, (0, 0))
            labels = (self._process, str(generation))
            made.collections.labels(*labels).inc(now[0] - before[0])
            made.collected.labels(*labels).inc(now[1] - before[1])
            self._gc[generation] = now

    def _run(self) -> None:
        while not self._stopped.wait(_EVERY_S):
            self.measure()


@cache
def _booted_at() -> float:
    for line in _PROC_STAT.read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0
