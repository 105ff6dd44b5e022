"""The database of the service, stopped and started by commands."""

import contextlib
import subprocess
from collections.abc import Iterator, Sequence

from .._config.model import DrillKeys
from .._rows.verdict import Undecided

_COMMAND_S = 120.0


class Database:
    """The database.

    Args:
        keys: Configuration with the commands.
        folder: Replaces `{folder}` in them.
    """

    def __init__(self, keys: DrillKeys, folder: str) -> None:
        self._keys = keys
        self._folder = folder
        self._is_stopped = False

    def require(self) -> None:
        """Raise `Undecided` if the commands are not configured."""
        if not self._keys.database_stop:
            raise Undecided("Set drill.database_stop and drill.database_start to commands in seatrial.toml.")

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Stop the database, and start it at the end.

        Raises:
            Undecided: The commands are not configured, or fail.
        """
        self.require()
        self._is_stopped = True
        try:
            self._run("drill.database_stop", self._keys.database_stop)
            yield
        finally:
            self.start()

    def start(self) -> None:
        """Start the database if it was stopped; raises `Undecided` if the command fails."""
        if self._is_stopped:
            self._run("drill.database_start", self._keys.database_start)
            self._is_stopped = False

    def _run(self, key: str, command: Sequence[str]) -> None:
        try:
            subprocess.run(  # noqa: S603 - a command of the user's configuration
                [part.replace("{folder}", self._folder) for part in command],
                check=True,
                timeout=_COMMAND_S,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError) as error:
            # The text of the error may quote the command, which may contain a password.
            raise Undecided(
                f"{key}: {command[0]} failed ({type(error).__name__}); correct the command."
            ) from None
