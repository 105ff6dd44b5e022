"""Puts a process's logging together."""

import atexit
import logging
from collections.abc import Mapping
from typing import Any, Final, Literal

from .._config.log_levels import LogLevels, shown_level
from .._metrics.drops import dropped_records, left_out_records
from . import stdlib, structlog
from .sink import Format, LogSink
from .writer import LineWriter

_EXIT_S: Final = 1.0
"""Seconds for what is left when a process ends that nobody has stopped."""


def configure(
    levels: LogLevels,
    wanted: Literal["json", "pretty", "auto"],
    *,
    service: str,
    version: str,
    repeats_per_second: int = 0,
) -> LogSink:
    """Send everything that is logged in this process to stdout, one line each.

    Args:
        levels: What is written.
        wanted: `auto` is for people when stdout is a terminal, and JSON else.
        service: Name in every line.
        version: Version in every line.
        repeats_per_second: Lines of one kind that are written in a second; 0 for all.

    Returns:
        The way by which they leave.
    """
    writer = LineWriter.stdout()
    form: Format = wanted if wanted != "auto" else "pretty" if writer.is_terminal else "json"
    writer.on_drop = _count
    dropped_records()
    left_out_records()
    pipe = LogSink(writer, form, service=service, version=version, repeats_per_second=repeats_per_second)
    pipe.on_suppressed = _count_left_out
    structlog.configure(pipe, levels)
    stdlib.configure(pipe, levels)
    atexit.register(pipe.close, timeout_s=_EXIT_S)
    return pipe


def set_levels(levels: LogLevels) -> None:
    """Let other levels hold in this process, from now on.

    Args:
        levels: What is written.
    """
    structlog.LOGGERS.set_levels(levels)
    stdlib.set_levels(levels)


def loggers() -> dict[str, Any]:
    """The levels that hold in this process, and that of each logger that was asked for."""
    levels = structlog.LOGGERS.levels
    names = {*structlog.LOGGERS.names(), *logging.root.manager.loggerDict}
    return {
        "levels": str(levels),
        "loggers": {name: shown_level(levels.of(name)) for name in sorted(names)},
    }


def _count_left_out(left_out: Mapping[str, int]) -> None:
    for level, count in left_out.items():
        left_out_records().labels(level).inc(count)


def _count(dropped: Mapping[str, int]) -> None:
    for level, count in dropped.items():
        dropped_records().labels(level).inc(count)
