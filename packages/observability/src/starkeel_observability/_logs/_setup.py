"""Puts a process's logging together."""

import atexit
from collections.abc import Mapping
from typing import Final, Literal

from starkeel_observability._metrics._drops import dropped_records

from . import _stdlib, _structlog
from ._levels import LogLevels
from ._pipe import Format, Pipe
from ._writer import LineWriter

_EXIT_S: Final = 1.0
"""Seconds for what is left when a process ends that nobody has stopped."""


def configure(
    levels: LogLevels, wanted: Literal["json", "pretty", "auto"], *, service: str, version: str
) -> Pipe:
    """Send everything that is logged in this process to stdout, one line each.

    Args:
        levels: What is written.
        wanted: `auto` is for people when stdout is a terminal, and JSON else.
        service: Name in every line.
        version: Version in every line.

    Returns:
        The way by which they leave.
    """
    writer = LineWriter.stdout()
    form: Format = wanted if wanted != "auto" else "pretty" if writer.is_terminal else "json"
    writer.on_drop = _count
    dropped_records()
    pipe = Pipe(writer, form, service=service, version=version)
    _structlog.configure(pipe, levels)
    _stdlib.configure(pipe, levels)
    atexit.register(pipe.close, timeout_s=_EXIT_S)
    return pipe


def _count(dropped: Mapping[str, int]) -> None:
    for level, count in dropped.items():
        dropped_records().labels(level).inc(count)
