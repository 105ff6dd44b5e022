"""Metrics of several processes on one page.

`prometheus_client` decides when it is first imported whether it shares values between processes; hence
it is imported nowhere before `prepare` was called.
"""

from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from .._config.service import ENVIRON

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def prepare(directory: Path) -> None:
    """Have this process and its workers keep their metrics in files there."""
    ENVIRON[_VARIABLE] = str(directory)


def name_process(name: str) -> None:
    """Have this process keep its metrics under a name instead of its process id.

    A worker that replaces another takes its name and its files over: totals go on where they were, and the
    number of files does not grow with every restart.
    """
    from prometheus_client import values

    values.ValueClass = _lean(values.MultiProcessValue(lambda: name))  # type: ignore[no-untyped-call]  # untyped upstream


def _lean(shared: Any) -> Any:
    """Values that do not look at the process id for each change: their file is not named by it.

    They keep exemplars, too.
    """
    from .exemplars import ExemplarFile

    lock = Lock()
    files: dict[str, ExemplarFile] = {}

    class Value(shared):  # type: ignore[misc]  # untyped upstream
        def inc(self, amount: float) -> None:
            with lock:
                self._value += amount
                self._file.write_value(self._key, self._value, 0.0)

        def set(self, value: float, timestamp: float | None = None) -> None:
            with lock:
                self._value = value
                self._file.write_value(self._key, value, timestamp or 0.0)

        def set_exemplar(self, exemplar: Any) -> None:
            path = self._file._fname  # noqa: SLF001 - it has no other name for it
            with lock:
                if path not in files:
                    files[path] = ExemplarFile(Path(path))
                place = self._file._positions[self._key]  # noqa: SLF001 - as above
            files[path].put(place, exemplar)

    return Value


def registry(directory: Path, collectors: Iterable[Any]) -> "CollectorRegistry":
    """The registry of the metrics page: every process's files and what main reports by itself."""
    from prometheus_client import CollectorRegistry

    from .exemplars import ExemplarCollector

    made = CollectorRegistry()
    made.register(ExemplarCollector(directory))
    for collector in collectors:
        made.register(collector)
    return made


def render(of: "CollectorRegistry", accept: str) -> tuple[bytes, str]:
    """The metrics page and its content type: OpenMetrics for those who accept it."""
    from prometheus_client.exposition import choose_encoder

    encode, content_type = choose_encoder(accept)
    return encode(of), content_type


def forget(directory: Path, *, name: str, pid: int) -> None:
    """Drop the gauges of what a dead process was doing: they would stay on the page for ever."""
    from prometheus_client.multiprocess import mark_process_dead

    for identifier in (name, pid):
        mark_process_dead(identifier, path=str(directory))  # type: ignore[no-untyped-call]  # untyped upstream


class WorkerMetrics:
    """What main tells about its workers."""

    def begin(self) -> None:
        """Tell it from now on; once this process has the name that its metrics are kept under."""
        from prometheus_client import Counter

        self._exits = Counter(
            "starkeel_worker_exits_total", "Workers that ended without being asked to.", ["reason"]
        )
        self._replacements = Counter(
            "starkeel_worker_replacements_total", "Workers that were replaced while they served.", ["reason"]
        )
        # From 0 on: the first of a series that is born at 1 is no increase to those who watch.
        for reason in ("oom", "signal", "error"):
            self._exits.labels(reason)
        for reason in ("reload", "memory"):
            self._replacements.labels(reason)

    def count_exit(self, reason: str) -> None:
        """Count a worker that died: `oom`, `signal` or `error`."""
        self._exits.labels(reason).inc()

    def count_replacement(self, reason: str) -> None:
        """Count a worker that was replaced: `reload` or `memory`."""
        self._replacements.labels(reason).inc()
