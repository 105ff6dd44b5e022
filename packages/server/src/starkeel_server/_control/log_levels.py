"""Log levels that an operator has set on the running service.

What was said last holds: levels that were set hold for workers that come later, too, until others are set or
the configuration is read anew with another `LOG_LEVEL`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec

VARIABLE = "LOG_LEVEL"


class HasLogLevels(Protocol):
    """What sets the levels of a process."""

    def set_log_levels(self, levels: str) -> None:
        """Let these levels hold from now on.

        Raises:
            ValueError: They are wrong.
        """


class _Set(msgspec.Struct, frozen=True):
    levels: str
    configured: str
    """What `LOG_LEVEL` said at that time: these levels stand in its place and no other's."""


class LogLevelsFile:
    """Where main keeps the levels that were set, for workers that start.

    Args:
        directory: Main's.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / "log-levels"

    def keep(self, levels: str, *, configured: str) -> None:
        """Keep levels, in place of those before."""
        new = self._path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(_Set(levels, configured)))
        # Whoever reads meanwhile finds the one or the other, never a half.
        os.replace(new, self._path)

    def forget(self) -> None:
        """Keep none."""
        self._path.unlink(missing_ok=True)

    def of(self, environ: Mapping[str, str]) -> str | None:
        """The levels that were set, if they stand in the place of those of this environment."""
        try:
            kept = msgspec.json.decode(self._path.read_bytes(), type=_Set)
        except FileNotFoundError:
            return None
        return kept.levels if kept.configured == environ.get(VARIABLE, "") else None


class MainLogLevels:
    """The levels of main, which follow those of the workers.

    Args:
        settable: Main's own.
        file: For the workers.
        configured: What `LOG_LEVEL` says.
    """

    def __init__(self, settable: HasLogLevels, file: LogLevelsFile, *, configured: str) -> None:
        self._settable = settable
        self._file = file
        self._configured = configured

    def set(self, levels: str) -> None:
        """Let levels hold in main and in workers that start from now on.

        Raises:
            ValueError: They are wrong; nothing has changed.
        """
        self._settable.set_log_levels(levels)
        self._file.keep(levels, configured=self._configured)

    def configure(self, configured: str, levels: str) -> None:
        """Take over what the configuration says now, unless it says what it said before.

        Args:
            configured: What `LOG_LEVEL` says.
            levels: What that means when it says nothing.
        """
        if configured != self._configured:
            self._configured = configured
            self._file.forget()
            self._settable.set_log_levels(levels)
