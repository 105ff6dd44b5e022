"""Logging set-up of a process."""

import atexit
import logging
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Literal

from prometheus_client import Counter

from .._config.log_levels import OFF, SEVERITIES, LogLevels, severity_of
from .._metrics.drops import dropped_records, suppressed_records
from . import stdlib, structlog
from .sink import Format, LogSink
from .writer import LineWriter

_EXIT_S: Final = 1.0
"""Seconds to write the remaining lines at interpreter exit, if the process was not stopped in order."""


def configure(
    levels: LogLevels,
    log_format: Literal["json", "pretty", "auto"],
    *,
    service: str,
    version: str,
    repeats_per_second: int = 0,
) -> LogSink:
    """Send all log records of this process to stdout, one line each.

    Args:
        levels: Minimum levels.
        log_format: `auto` is `pretty` if stdout is a terminal, else `json`.
        service: Service name, in every line as the version.
        version: Service version.
        repeats_per_second: Limit for repeated lines; 0 disables it.
    """
    # `None` if stdout was closed at start: its number may be reused for another file.
    writer = LineWriter(None if sys.__stdout__ is None else sys.__stdout__.fileno())
    form: Format = log_format if log_format != "auto" else "pretty" if writer.is_terminal else "json"
    writer.on_drop = partial(_count, dropped_records())
    sink = LogSink(writer, form, service=service, version=version, repeats_per_second=repeats_per_second)
    sink.on_suppressed = partial(_count, suppressed_records())
    structlog.configure(sink, levels)
    stdlib.configure(sink, levels)
    atexit.register(sink.close, timeout_s=_EXIT_S)
    return sink


def set_levels(levels: LogLevels) -> None:
    """Change the minimum levels of this process."""
    structlog.LOGGERS.set_levels(levels)
    stdlib.set_levels(levels)


def loggers() -> dict[str, Any]:
    """Return the configured levels and the effective level of each logger."""
    levels = structlog.LOGGERS.levels
    names = {*structlog.LOGGERS.names(), *logging.root.manager.loggerDict}
    return {"levels": str(levels), "loggers": {name: _level_name(levels.of(name)) for name in sorted(names)}}


def _level_name(level: int) -> str:
    return "OFF" if level >= OFF else SEVERITIES[severity_of(level)]


def _count(counter: Counter, counts: Mapping[str, int]) -> None:
    for level, count in counts.items():
        counter.labels(level).inc(count)
