"""Puts a process's logging together."""

from typing import Literal

from . import _stdlib, _structlog
from ._levels import LogLevels
from ._pipe import Format, Pipe
from ._writer import LineWriter


def configure(
    levels: LogLevels, wanted: Literal["json", "pretty", "auto"], *, service: str, version: str
) -> Format:
    """Send everything that is logged in this process to stdout, one line each.

    Args:
        levels: What is written.
        wanted: `auto` is for people when stdout is a terminal, and JSON else.
        service: Name in every line.
        version: Version in every line.

    Returns:
        How lines are written.
    """
    writer = LineWriter.stdout()
    form: Format = wanted if wanted != "auto" else "pretty" if writer.is_terminal else "json"
    pipe = Pipe(writer, form, service=service, version=version)
    _structlog.configure(pipe, levels)
    _stdlib.configure(pipe, levels)
    return form
