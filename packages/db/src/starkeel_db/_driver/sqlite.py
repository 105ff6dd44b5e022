"""Opens SQLite files with aiosqlite, and controls their transactions."""

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

import aiosqlite
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from .._base.errors import DatabaseUnavailable, NotADatabase, sqlite_code
from .._compat import set_daemon
from .statements import Open

_ABANDON_S = 1.0
_INTERRUPT_EVERY_S = 0.02
_BUSY_AGAIN_S = 0.01


def sqlite_opener(path: Path, *, busy_timeout_s: float, foreign_keys: bool = True) -> Open:
    """Return a function that opens a file; it is created, with its directory, if it does not exist.

    Args:
        path: The file.
        busy_timeout_s: Seconds to wait for the lock of another transaction.
        foreign_keys: Whether to enforce foreign keys; a migration that rebuilds a table must not.
    """

    async def open_connection() -> aiosqlite.Connection:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
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
            await _configure(connection, foreign_keys=foreign_keys)
        except BaseException as error:
            await connection.close()
            if isinstance(error, sqlite3.Error):
                raise _cannot_use(path, error) from error
            raise
        return connection

    return open_connection


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


async def _configure(connection: aiosqlite.Connection, *, foreign_keys: bool) -> None:
    # Commits survive a crash of the process; the last ones may be lost with a crash of the machine.
    await connection.execute("PRAGMA synchronous = NORMAL")
    await connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")


def _cannot_use(path: Path, error: sqlite3.Error) -> DatabaseUnavailable:
    if sqlite_code(error) in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return NotADatabase(f"{path} is not an SQLite database", is_lasting=True)
    return DatabaseUnavailable(f"sqlite at {path} cannot be used: {error}", is_lasting=not _is_busy(error))


def _is_busy(error: sqlite3.Error) -> bool:
    return sqlite_code(error) == sqlite3.SQLITE_BUSY


def interrupt_when_cancelled(engine: Engine) -> None:
    """Interrupt the statement of a cancelled request, which the driver's thread would otherwise finish."""

    @event.listens_for(engine, "handle_error")
    def interrupt(context: ExceptionContext) -> None:
        if not isinstance(context.original_exception, asyncio.CancelledError) or context.connection is None:
            return
        adapted: Any = context.connection.connection.dbapi_connection
        adapted.run_async(_abandon)


async def _abandon(connection: aiosqlite.Connection) -> None:
    # Closing alone would keep the lock while anything, such as a traceback, refers to the cursor.
    rolling_back = asyncio.ensure_future(connection.rollback())
    until = time.monotonic() + _ABANDON_S
    while not rolling_back.done() and time.monotonic() < until:
        # Repeatedly: the thread may not have started the statement yet.
        await connection.interrupt()
        await asyncio.wait([rolling_back], timeout=_INTERRUPT_EVERY_S)
    if rolling_back.done() and not rolling_back.cancelled():
        # Retrieve the exception so that it is not logged; the connection is dropped in any case.
        rolling_back.exception()
