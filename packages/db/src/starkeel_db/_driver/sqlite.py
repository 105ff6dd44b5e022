"""Opening SQLite files, and how transactions begin there."""

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

import aiosqlite
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext

from .._base.errors import DatabaseUnavailable, NotADatabase, sqlite_code
from .postgres import Open

BEGIN = "starkeel_sqlite_begin"
"""Execution option: how transactions of a connection begin."""
READING = "BEGIN"
WRITING = "BEGIN IMMEDIATE"
_ABANDON_S = 1.0
_INTERRUPT_EVERY_S = 0.02
_BUSY_AGAIN_S = 0.01


def sqlite_opener(path: Path, *, busy_timeout_s: float, foreign_keys: bool = True) -> Open:
    """Return what opens a connection to a file, which is created with its directory where there is none.

    Args:
        path: The file.
        busy_timeout_s: Seconds to wait for another's transaction.
        foreign_keys: Whether references are enforced; a migration that rebuilds a table cannot have that.
    """

    async def open_connection() -> aiosqlite.Connection:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Without isolation level: the driver begins no transaction by itself, we do.
            connecting = aiosqlite.connect(path, isolation_level=None, timeout=busy_timeout_s)
            # A connection that is abandoned while it opens must not keep the process from ending.
            connecting._thread.daemon = True  # noqa: SLF001 - the driver has no other way
            connection = await connecting
        except (OSError, sqlite3.Error) as error:
            raise DatabaseUnavailable(
                f"sqlite at {path} cannot be opened: {error}", is_lasting=True
            ) from error
        try:
            await _write_ahead(connection, within_s=busy_timeout_s)
            await _set_up(connection, foreign_keys=foreign_keys)
        except BaseException as error:
            await connection.close()
            if isinstance(error, sqlite3.Error):
                raise _unusable(path, error) from error
            raise
        return connection

    return open_connection


async def _write_ahead(connection: aiosqlite.Connection, *, within_s: float) -> None:
    """Have readers and a writer not wait for one another."""
    until = time.monotonic() + within_s
    while True:
        try:
            await connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Who changes a new file locks it all, and for that SQLite does not wait, whatever the timeout.
            if not _is_busy(error) or time.monotonic() >= until:
                raise
            await asyncio.sleep(_BUSY_AGAIN_S)
        else:
            return


async def _set_up(connection: aiosqlite.Connection, *, foreign_keys: bool) -> None:
    # A commit survives a crash of the process, and one of the machine but for the last moment.
    await connection.execute("PRAGMA synchronous = NORMAL")
    await connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")


def _unusable(path: Path, error: sqlite3.Error) -> DatabaseUnavailable:
    if sqlite_code(error) in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return NotADatabase(f"{path} is no SQLite database", is_lasting=True)
    return DatabaseUnavailable(f"sqlite at {path} cannot be used: {error}", is_lasting=not _is_busy(error))


def _is_busy(error: sqlite3.Error) -> bool:
    return sqlite_code(error) == sqlite3.SQLITE_BUSY


def begin_explicitly(engine: Engine) -> None:
    """Have transactions begin as their connection's `BEGIN` option says; for writing without one.

    One that only reads at first and writes later fails at once when another wrote meanwhile, whatever the
    busy timeout; one that takes the lock first waits its turn.
    """

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(BEGIN, WRITING))


def roll_back_what_is_left(engine: Engine) -> None:
    """Have no transaction outlive a failed commit: SQLite keeps it open, SQLAlchemy takes it for closed."""

    @event.listens_for(engine, "reset")
    def roll_back(connection: Any, record: Any, _: Any) -> None:
        if record.driver_connection is not None and record.driver_connection.in_transaction:
            connection.rollback()


def interrupt_when_cancelled(engine: Engine) -> None:
    """Have a statement end whose request is cancelled: the driver's thread would work on it to the end."""

    @event.listens_for(engine, "handle_error")
    def interrupt(context: ExceptionContext) -> None:
        if not isinstance(context.original_exception, asyncio.CancelledError) or context.connection is None:
            return
        adapted: Any = context.connection.connection.dbapi_connection
        adapted.run_async(_abandon)


async def _abandon(connection: aiosqlite.Connection) -> None:
    # Closing alone would keep the lock for as long as anybody refers to the cursor, a traceback for one.
    rolling_back = asyncio.ensure_future(connection.rollback())
    until = time.monotonic() + _ABANDON_S
    while not rolling_back.done() and time.monotonic() < until:
        # Again and again: the thread may not have begun with the statement.
        await connection.interrupt()
        await asyncio.wait([rolling_back], timeout=_INTERRUPT_EVERY_S)
    if rolling_back.done() and not rolling_back.cancelled():
        # An error of it changes nothing: the connection is dropped in any case.
        rolling_back.exception()
