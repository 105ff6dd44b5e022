"""Opens SQLite files with aiosqlite."""

import asyncio
import sqlite3
import time
from pathlib import Path

import aiosqlite

from .._base.errors import DatabaseUnavailable, NotADatabase, sqlite_code
from .._compat import set_daemon
from .statements import Open

_BUSY_AGAIN_S = 0.01
_OWN_FOLDER = ".data"
"""Name of the folder of the default URL in development, which is created."""


def sqlite_opener(path: Path, *, busy_timeout_s: float, foreign_keys: bool = True) -> Open:
    """Return a function that opens a file; it is created if it does not exist, and its folder must exist.

    It waits `busy_timeout_s` seconds for the lock of another transaction. A migration that rebuilds a table
    must not enforce foreign keys.
    """

    async def open_connection() -> aiosqlite.Connection:
        try:
            require_folder(path)
            # No isolation level: the driver must not begin transactions by itself.
            connecting = aiosqlite.connect(path, isolation_level=None, timeout=busy_timeout_s)
            # A thread that is still opening the file must not delay the exit of the process.
            set_daemon(connecting)
            connection = await connecting
        except (OSError, sqlite3.Error) as error:
            raise DatabaseUnavailable(
                f"sqlite at {path} cannot be opened: {error}", is_lasting=True
            ) from error
        try:
            await _enable_wal(connection, within_s=busy_timeout_s)
            # Commits survive a crash of the process; the last ones may be lost with a crash of the machine.
            await connection.execute("PRAGMA synchronous = NORMAL")
            await connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        except BaseException as error:
            await connection.close()
            if isinstance(error, sqlite3.Error):
                raise _cannot_use(path, error) from error
            raise
        return connection

    return open_connection


def require_folder(path: Path) -> None:
    """Check that the folder of a database exists; only the default one of development is created.

    A misspelled path would otherwise be a new, empty database.

    Raises:
        FileNotFoundError: It does not exist.
        NotADirectoryError: It is a file.
    """
    folder = path.parent
    if folder.name == _OWN_FOLDER and folder.parent.is_dir():
        folder.mkdir(exist_ok=True)
    elif folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder.absolute()} is not a folder; correct DATABASE_URL")
    elif not folder.exists():
        raise FileNotFoundError(
            f"the folder {folder.absolute()} does not exist; correct DATABASE_URL, or create the folder"
        )


async def _enable_wal(connection: aiosqlite.Connection, *, within_s: float) -> None:
    """Enable write-ahead logging: readers do not block the writer, nor the writer readers."""
    until = time.monotonic() + within_s
    while True:
        try:
            await connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # The change locks the whole file, and SQLite does not apply the busy timeout to that lock.
            if not _is_busy(error) or time.monotonic() >= until:
                raise
            await asyncio.sleep(_BUSY_AGAIN_S)
        else:
            return


def _cannot_use(path: Path, error: sqlite3.Error) -> DatabaseUnavailable:
    if sqlite_code(error) in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return NotADatabase(f"{path} is not an SQLite database", is_lasting=True)
    return DatabaseUnavailable(f"sqlite at {path} cannot be used: {error}", is_lasting=not _is_busy(error))


def _is_busy(error: sqlite3.Error) -> bool:
    return sqlite_code(error) == sqlite3.SQLITE_BUSY
