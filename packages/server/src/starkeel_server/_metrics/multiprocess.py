"""Prometheus metrics shared between processes.

`prometheus_client` decides on its first import whether it shares values between processes, so it must not be
imported before `set_directory`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._compat import shared_value_class
from .._config.service import ENVIRON

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def set_directory(directory: Path) -> None:
    """Keep the metrics of this process and its workers in files in a directory."""
    ENVIRON[_VARIABLE] = str(directory)


def name_process(name: str) -> None:
    """Name the metrics files of this process by `name` instead of its process id.

    A replacement worker continues the files of its predecessor: totals are kept, and the number of files does
    not grow with restarts.
    """
    from prometheus_client import values

    from .exemplars import ExemplarFile

    values.ValueClass = shared_value_class(name, ExemplarFile)


def registry(directory: Path, collectors: Iterable[Any]) -> "CollectorRegistry":
    """Return the registry of `/metrics`: the files of all processes, and collectors of the main process."""
    from prometheus_client import CollectorRegistry

    from .exemplars import ExemplarCollector

    merged = CollectorRegistry()
    merged.register(ExemplarCollector(directory))
    for collector in collectors:
        merged.register(collector)
    return merged


def render(metrics: "CollectorRegistry", accept: str) -> tuple[bytes, str]:
    """Render metrics; return the body and its content type, OpenMetrics if `accept` includes it."""
    from prometheus_client.exposition import choose_encoder

    encode, content_type = choose_encoder(accept)
    return encode(metrics), content_type


def remove_live_gauges(directory: Path, *, name: str, pid: int) -> None:
    """Remove the live gauges of a process that has ended; its totals are kept."""
    from prometheus_client.multiprocess import mark_process_dead

    for identifier in (name, pid):
        mark_process_dead(identifier, path=str(directory))  # type: ignore[no-untyped-call]  # untyped upstream


class WorkerMetrics:
    def register(self) -> None:
        """Create the metrics; call `name_process` first."""
        from prometheus_client import Counter

        self._exits = Counter("starkeel_worker_exits_total", "Workers that ended unexpectedly.", ["reason"])
        self._replacements = Counter(
            "starkeel_worker_replacements_total", "Workers that were replaced while they served.", ["reason"]
        )
        # Start at 0: Prometheus does not count the first sample of a series as an increase.
        for reason in ("oom", "signal", "error"):
            self._exits.labels(reason)
        for reason in ("reload", "memory"):
            self._replacements.labels(reason)

    def count_exit(self, reason: str) -> None:
        self._exits.labels(reason).inc()

    def count_replacement(self, reason: str) -> None:
        self._replacements.labels(reason).inc()
