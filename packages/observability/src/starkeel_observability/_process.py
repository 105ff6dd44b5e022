"""Logging and metrics of a process, without a framework: the main process builds no application."""

import atexit
import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

from prometheus_client.registry import Collector

from ._config.log_levels import OFF, SEVERITIES, LogLevels, severity_of
from ._config.settings import TelemetrySettings
from ._logs import stdlib, structlog
from ._logs.sink import LogSink
from ._logs.writer import LineWriter
from ._metrics.api import counter_from_zero
from ._metrics.process import BuildInfo, ProcessMetrics
from ._traces.foreign import shut_down_foreign_providers

_MIN_FLUSH_S: Final = 0.25
_EXIT_S: Final = 1.0
"""Seconds to write the remaining lines at interpreter exit, if the process was not stopped in order."""


_current: "ProcessSetup | None" = None


def is_set_up() -> bool:
    """Return whether logging of this process is set up, by this package or for it."""
    return _current is not None


class ProcessSetup:
    """Sets up logging and process metrics."""

    def __init__(self, settings: TelemetrySettings) -> None:
        self._settings = settings
        self._metrics: ProcessMetrics | None = None
        self._sink: LogSink | None = None

    def start_process(self, *, role: Literal["main", "worker"], index: int, workers: int) -> None:
        global _current
        del workers
        _current = self
        self._sink = _log_to_stdout(self._settings)
        self._metrics = ProcessMetrics("main" if role == "main" else f"worker-{index}")
        self._metrics.start()

    def stop_process(self, *, timeout_s: float) -> None:
        """Flush the application's own OpenTelemetry providers, and write the remaining log lines.

        Takes at most `timeout_s` seconds, or a quarter if that is more.
        """
        global _current
        if _current is self:
            _current = None
        until = time.monotonic() + timeout_s
        shut_down_foreign_providers(timeout_s=timeout_s)
        if self._metrics is not None:
            self._metrics.stop()
        if self._sink is not None:
            self._sink.close(timeout_s=max(_MIN_FLUSH_S, until - time.monotonic()))
            atexit.unregister(self._sink.close)

    def collectors(self) -> Iterable[Collector]:
        settings = self._settings
        yield BuildInfo(
            service=settings.service_name, version=settings.version, revision=settings.service_revision
        )

    def set_log_levels(self, levels: str) -> None:
        """Change the log levels of this process; raises ValueError as `LogLevels.parse`."""
        parsed = LogLevels.parse(levels)
        structlog.LOGGERS.set_levels(parsed)
        stdlib.set_levels(parsed)

    def inquiries(self) -> Mapping[str, Callable[[Mapping[str, str]], Any]]:
        """Return the admin endpoints of this process."""
        return {"loggers": _loggers}


def _log_to_stdout(settings: TelemetrySettings) -> LogSink:
    """Send all log records of this process to stdout, one line each."""
    # `None` if stdout was closed at start: its number may be reused for another file.
    writer = LineWriter(None if sys.__stdout__ is None else sys.__stdout__.fileno())
    writer.on_drop = _counter(
        "log_records_dropped_total", "Log lines that could not be written.", levels=SEVERITIES
    )
    sink = LogSink(writer, settings)
    sink.on_suppressed = _counter(
        "log_records_sampled_out_total",
        "Repeated warnings and errors that flood control suppressed.",
        levels=("WARN", "ERROR"),
    )
    structlog.configure(sink, settings.log_level)
    stdlib.configure(sink, settings.log_level)
    atexit.register(sink.close, timeout_s=_EXIT_S)
    return sink


def _counter(
    name: str, documentation: str, *, levels: tuple[str, ...]
) -> Callable[[Mapping[str, int]], None]:
    """Create a counter by level, and return a function that increases it."""
    made = counter_from_zero(name, documentation, "level", levels)

    def count(counts: Mapping[str, int]) -> None:
        for level, number in counts.items():
            made.labels(level).inc(number)

    return count


def _loggers(_parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return the configured levels and the effective level of each logger."""
    levels = structlog.LOGGERS.levels
    names = {*structlog.LOGGERS.handles, *logging.root.manager.loggerDict}
    return {"levels": str(levels), "loggers": {name: _level_name(levels.of(name)) for name in sorted(names)}}


def _level_name(level: int) -> str:
    return "OFF" if level >= OFF else SEVERITIES[severity_of(level)]
