"""Logging and metrics of a process, without a framework: the main process builds no application."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

from prometheus_client.registry import Collector

from ._config.log_levels import LogLevels
from ._config.settings import TelemetrySettings
from ._logs.setup import configure, loggers, set_levels
from ._logs.sink import LogSink
from ._metrics.process import BuildInfo, ProcessMetrics

_MIN_FLUSH_S: Final = 0.25


class ProcessSetup:
    """Sets up logging and process metrics."""

    def __init__(self, settings: TelemetrySettings) -> None:
        self._settings = settings
        self._metrics: ProcessMetrics | None = None
        self._sink: LogSink | None = None

    def start_process(self, *, role: Literal["main", "worker"], index: int, workers: int) -> None:
        del workers
        settings = self._settings
        self._sink = configure(
            settings.log_level,
            settings.log_format,
            service=settings.service_name,
            version=settings.version,
            repeats_per_second=settings.log_repeats_per_second,
        )
        self._metrics = ProcessMetrics("main" if role == "main" else f"worker-{index}")
        self._metrics.start()

    def stop_process(self, *, timeout_s: float) -> None:
        """Write the remaining log lines; takes at most `timeout_s` seconds, or a quarter if that is more."""
        if self._metrics is not None:
            self._metrics.stop()
        if self._sink is not None:
            self._sink.close(timeout_s=max(_MIN_FLUSH_S, timeout_s))

    def collectors(self) -> Iterable[Collector]:
        settings = self._settings
        yield BuildInfo(
            service=settings.service_name, version=settings.version, revision=settings.service_revision
        )

    def set_log_levels(self, levels: str) -> None:
        """Change the log levels of this process.

        Raises:
            ValueError: The levels do not have the format of `LOG_LEVEL`.
        """
        set_levels(LogLevels.parse(levels))

    def inquiries(self) -> Mapping[str, Callable[[Mapping[str, str]], Any]]:
        """Return the admin endpoints of this process."""
        return {"loggers": lambda _: loggers()}
