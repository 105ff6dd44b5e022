"""Process metrics: resource usage, event loop lag and build information."""

import asyncio
import gc
import os
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from .api import histogram

_MEASURE_EVERY_S: Final = 5.0
_PAGE_BYTES: Final = resource.getpagesize()
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_FILES: Final = Path("/proc/self/fd")
_STAT: Final = Path("/proc/self/stat")
_LAG_EVERY_S: Final = 0.5
_LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class ProcessMetrics:
    """Measures the resource usage of this process every five seconds, where `/proc` exists.

    The process collectors of `prometheus_client` report only the process that is scraped, main. These metrics
    are not registered: the default registry already has collectors of the same names, which main does not
    expose.
    """

    def __init__(self, process: str) -> None:
        self._process = process
        self._stopped = threading.Event()
        self._cpu_s = 0.0
        self._gc: dict[int, tuple[int, int]] = {}
        self._cpu = _counter("process_cpu_seconds_total", "CPU time used.")
        self._gauges = [
            _gauge("process_threads", "Threads."),
            _gauge("process_start_time_seconds", "Start time in seconds since 1970."),
            _gauge("process_resident_memory_bytes", "Resident memory."),
            _gauge("process_open_fds", "Open file descriptors."),
            _gauge("process_max_fds", "Limit of open file descriptors."),
        ]
        self._collections = _counter("python_gc_collections_total", "Garbage collections.", "generation")
        self._collected = _counter(
            "python_gc_objects_collected_total", "Objects collected as garbage.", "generation"
        )

    def start(self) -> None:
        if not _STAT.exists():
            return
        self.measure()
        threading.Thread(target=self._run, name="process-metrics", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def measure(self) -> None:
        # The second field, a name in parentheses, may contain any character.
        stat = _STAT.read_text().rpartition(")")[2].split()
        cpu_s = (int(stat[11]) + int(stat[12])) / _TICKS_PER_S
        self._cpu.labels(self._process).inc(max(0.0, cpu_s - self._cpu_s))
        self._cpu_s = cpu_s
        started_s = _boot_time() + int(stat[19]) / _TICKS_PER_S
        open_files = sum(1 for _ in _FILES.iterdir())
        max_files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        measured = int(stat[17]), started_s, int(stat[21]) * _PAGE_BYTES, open_files, max_files
        for gauge, value in zip(self._gauges, measured, strict=True):
            gauge.labels(self._process).set(value)
        for generation, stats in enumerate(gc.get_stats()):
            now = (stats["collections"], stats["collected"])
            before = self._gc.get(generation, (0, 0))
            labels = (self._process, str(generation))
            self._collections.labels(*labels).inc(now[0] - before[0])
            self._collected.labels(*labels).inc(now[1] - before[1])
            self._gc[generation] = now

    def _run(self) -> None:
        while not self._stopped.wait(_MEASURE_EVERY_S):
            self.measure()


def _counter(name: str, documentation: str, *labels: str) -> Counter:
    return Counter(name, documentation, ["process", *labels], registry=None)


def _gauge(name: str, documentation: str) -> Gauge:
    return Gauge(name, documentation, ["process"], registry=None, multiprocess_mode="livesum")


@cache
def _boot_time() -> float:
    """Return when the system was started, in seconds since 1970."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


@cache
def _lag() -> Histogram:
    return histogram("starkeel_event_loop_lag_seconds", "Delay of event loop timers.", buckets=_LAG_BUCKETS)


class LoopLag:
    """Measures how late the running event loop executes a timer, every half second."""

    def __init__(self) -> None:
        self._lag = _lag()
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start in the running loop; a test client may run a loop that is not asyncio's."""
        with suppress(RuntimeError):
            self._schedule(asyncio.get_running_loop())

    def stop(self) -> None:
        if self._next is not None:
            self._next.cancel()

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + _LAG_EVERY_S
        self._next = loop.call_at(due, self._measure, loop, due)

    def _measure(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._lag.observe(max(0.0, loop.time() - due))
        self._schedule(loop)


class BuildInfo(Collector):
    """Reports `starkeel_build_info`."""

    def __init__(self, *, service: str, version: str, revision: str) -> None:
        self._labels = {"service": service, "version": version, "revision": revision}

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "starkeel_build_info", "Service version and revision; always 1.", labels=list(self._labels)
        )
        family.add_metric(list(self._labels.values()), 1)
        yield family
