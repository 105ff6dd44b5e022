"""A process's log and metrics, set up without any framework: the main process of a service has none."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from prometheus_client.registry import Collector

from ._config.log_levels import LogLevels
from ._config.settings import TelemetrySettings
from ._logs.setup import configure, loggers, set_levels
from ._logs.sink import LogSink
from ._metrics.process import BuildInfo, ProcessMetrics

_LINES_S = 0.25
"""Seconds, at least, for the last lines."""


class ProcessSetup:
    """Sets up what every process has.

    Args:
        settings: What is logged, and under which name.
    """

    def __init__(self, settings: TelemetrySettings) -> None:
        self._settings = settings
        self._process: ProcessMetrics | None = None
        self._pipe: LogSink | None = None

    def start_process(self, *, role: Literal["main", "worker"], index: int, workers: int) -> None:
        """Set this process up.

        Args:
            role: What it is.
            index: Number of the worker, from 0.
            workers: How many there are.
        """
        del workers
        settings = self._settings
        self._pipe = configure(
            settings.log_level,
            settings.log_format,
            service=settings.service_name,
            version=settings.version,
            repeats_per_second=settings.log_repeats_per_second,
        )
        self._process = ProcessMetrics("main" if role == "main" else f"worker-{index}")
        self._process.start()

    def stop_process(self, *, timeout_s: float) -> None:
        """Write the lines that are left.

        Args:
            timeout_s: Seconds it may take.
        """
        if self._process is not None:
            self._process.stop()
        if self._pipe is not None:
            self._pipe.close(timeout_s=max(_LINES_S, timeout_s))

    def collectors(self) -> Iterable[Collector]:
        """What main reports by itself: what runs."""
        settings = self._settings
        yield BuildInfo(
            service=settings.service_name, version=settings.version, revision=settings.service_revision
        )

    def set_log_levels(self, levels: str) -> None:
        """Let other levels hold in this process, from now on.

        Args:
            levels: As `LOG_LEVEL` has them.

        Raises:
            ValueError: They are wrong.
        """
        set_levels(LogLevels.parse(levels))

    def inquiries(self) -> Mapping[str, Callable[[Mapping[str, str]], Any]]:
        """What an operator can ask of this process."""
        return {"loggers": lambda _: loggers()}
