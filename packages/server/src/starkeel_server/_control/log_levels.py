"""Log levels set by an operator on the running service.

They also apply to workers started later, until other levels are set or the configuration is reloaded with a
different `LOG_LEVEL`.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

VARIABLE = "LOG_LEVEL"


class _Override(msgspec.Struct, frozen=True):
    levels: str
    configured: str
    """Value of `LOG_LEVEL` that the levels override."""


def read_levels(directory: Path, environ: Mapping[str, str]) -> str | None:
    """Return the levels that were set and override the `LOG_LEVEL` of a starting worker, else None."""
    try:
        override = msgspec.json.decode(_path(directory).read_bytes(), type=_Override)
    except FileNotFoundError:
        return None
    return override.levels if override.configured == environ.get(VARIABLE, "") else None


class MainLogLevels:
    """Log levels of the main process, and of workers that start later: a file passes the levels to them.

    `configured` is the value of `LOG_LEVEL`. `set_levels` raises `ValueError` if the levels are invalid.
    """

    def __init__(self, set_levels: Callable[[str], None], directory: Path, *, configured: str) -> None:
        self._set_levels = set_levels
        self._path = _path(directory)
        self._configured = configured

    def set(self, levels: str) -> None:
        """Set the levels of the main process and of workers started from now on.

        Raises:
            ValueError: The levels are invalid; nothing has changed.
        """
        self._set_levels(levels)
        new = self._path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(_Override(levels, self._configured)))
        # Atomic for concurrent readers.
        os.replace(new, self._path)

    def configure(self, configured: str, levels: str) -> None:
        """Apply the effective `levels` if the text of `LOG_LEVEL` has changed.

        `levels` is empty if there is no such setting.
        """
        if levels and configured != self._configured:
            self._configured = configured
            self._path.unlink(missing_ok=True)
            self._set_levels(levels)


def _path(directory: Path) -> Path:
    return directory / "log-levels"
