"""Transactions: write lock of SQLite, read-only mode of connections, statement timeout of PostgreSQL."""

import asyncio
import math
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.pool import ConnectionPoolEntry

from .._base.errors import DatabaseUnavailable, reason_of

BEGIN: Final = "starkeel_sqlite_begin"
"""Execution option: the statement that begins a transaction on SQLite."""
READING: Final = "BEGIN"
WRITING: Final = "BEGIN IMMEDIATE"

READ_ONLY: Final = "starkeel_read_only"
"""Execution option: the database must refuse writes. Also the key of the mode in a connection's `info`."""
_SWITCH: Final = {
    # RESET and not OFF: the server's own default may be on, during maintenance.
    "postgresql": {
        True: "SET default_transaction_read_only = on",
        False: "RESET default_transaction_read_only",
    },
    "sqlite": {True: "PRAGMA query_only = ON", False: "PRAGMA query_only = OFF"},
}

_ABANDON_S: Final = 1.0
_INTERRUPT_EVERY_S: Final = 0.02

_TIMEOUT: Final = "starkeel_statement_timeout"
_IDLE_MS: Final = "60000"
"""Milliseconds after which the server ends an idle transaction and frees its locks; longer than a request."""
_SHORTEN: Final = (
    "SELECT set_config('statement_timeout', $1, true),"
    " set_config('idle_in_transaction_session_timeout', $2, true)"
)
_TOLERANCE_S: Final = 0.1
"""Seconds by which the current timeout may exceed the remaining time; setting it costs a round trip."""


def control_sqlite(engine: Engine) -> None:
    """Control SQLite's transactions; each begins with the `BEGIN` option, by default `BEGIN IMMEDIATE`.

    A transaction that reads first and writes later fails at once if another one wrote in between, whatever
    the busy timeout; one that takes the write lock first waits for it.
    """

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(BEGIN, WRITING))

    @event.listens_for(engine, "reset")
    def roll_back_failed_commit(connection: Any, record: Any, _: Any) -> None:
        # SQLite keeps the transaction open; SQLAlchemy assumes that it is closed.
        if record.driver_connection is not None and record.driver_connection.in_transaction:
            connection.rollback()

    @event.listens_for(engine, "handle_error")
    def interrupt(context: ExceptionContext) -> None:
        # The driver's thread would otherwise finish the statement of a cancelled request.
        if not isinstance(context.original_exception, asyncio.CancelledError) or context.connection is None:
            return
        adapted: Any = context.connection.connection.dbapi_connection
        adapted.run_async(_abandon)


async def _abandon(connection: Any) -> None:
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


def switch_read_only(engine: Engine, *, on_failure: Callable[[str], None]) -> None:
    """Switch a connection to the mode of the `READ_ONLY` option before its transaction begins.

    The mode is a session setting and stays until a transaction needs the other one, so most transactions find
    it set. A switch costs a round trip.
    `on_failure` is called with the reason when a switch fails.
    """
    statements = _SWITCH[engine.dialect.name]

    @event.listens_for(engine, "begin")
    def switch(connection: Connection) -> None:
        is_read_only = connection.get_execution_options().get(READ_ONLY, False)
        info = connection.info
        if info.get(READ_ONLY, False) is is_read_only:
            return
        # Unknown until the switch has succeeded: it may be cancelled.
        info[READ_ONLY] = None
        adapted: Any = connection.connection.dbapi_connection
        try:
            # On the driver's connection: SQLAlchemy's cursor would begin the transaction.
            adapted.run_async(lambda driver: driver.execute(statements[is_read_only]))
        except BaseException as error:
            # As SQLAlchemy does: a cancelled statement leaves the connection in an unknown state.
            connection.invalidate(error)
            if not isinstance(error, Exception):
                raise
            reason = reason_of(error)
            on_failure(reason)
            raise DatabaseUnavailable(reason) from error
        info[READ_ONLY] = is_read_only


def session_settings(statement_timeout_s: float) -> dict[str, str]:
    """Return the session parameters that limit the statements and transactions of requests."""
    return {
        "statement_timeout": str(max(1, round(statement_timeout_s * 1000))),
        "idle_in_transaction_session_timeout": _IDLE_MS,
    }


class _StatementTimeout:
    """Statement timeout of one transaction; `ends_at` are monotonic seconds."""

    __slots__ = ("_current_s", "_ends_at", "_session_s", "_timeout_s")

    def __init__(self, ends_at: float, timeout_s: float, current_s: float) -> None:
        self._ends_at = ends_at
        self._timeout_s = timeout_s
        self._current_s = self._session_s = current_s

    def restart(self) -> None:
        """Note that the transaction begins again, with the timeout of the session."""
        self._current_s = self._session_s

    def due_ms(self) -> int | None:
        """Return the timeout to set before the next statement, in milliseconds; None to keep the current."""
        left_s = min(self._timeout_s, max(0.001, self._ends_at - time.monotonic()))
        current_s = self._current_s
        if left_s >= current_s or current_s - left_s <= _TOLERANCE_S < left_s:
            return None
        self._current_s = left_s
        return max(1, int(left_s * 1000))


def is_shortened(state: MutableMapping[str, Any] | None, timeout_s: float) -> bool:
    """Return whether a request, given the `state` of its scope, has less time left than `timeout_s`."""
    ends_at = math.inf if state is None else state.get("deadline", math.inf)
    return ends_at - time.monotonic() < timeout_s - _TOLERANCE_S


def set_deadline(
    connection: Connection,
    state: MutableMapping[str, Any] | None,
    *,
    timeout_s: float,
    is_session_default: bool,
) -> None:
    """Apply the deadline of a request to the transaction that begins on a connection.

    Args:
        connection: Connection of the transaction.
        state: `state` of the request's scope, or None outside of requests.
        timeout_s: Statement timeout in seconds.
        is_session_default: Whether `timeout_s` is the session's setting; it is not behind a pooler.
    """
    ends_at = math.inf if state is None else state.get("deadline", math.inf)
    current_s = timeout_s if is_session_default else math.inf
    connection.info[_TIMEOUT] = _StatementTimeout(ends_at, timeout_s, current_s)


def enforce_deadlines(engine: Engine) -> None:
    """Shorten the statement timeout before a statement of a request that has less time left."""

    @event.listens_for(engine, "before_cursor_execute")
    def shorten(connection: Connection, *_: Any) -> None:
        _shorten(connection)

    @event.listens_for(engine, "checkin")
    def forget(_: Any, record: ConnectionPoolEntry) -> None:
        # The next checkout may not belong to a request.
        record.info.pop(_TIMEOUT, None)


def restart_deadline(connection: Connection) -> None:
    """Apply the deadline of a request to its transaction, which begins again after a rollback."""
    timeout = connection.info.get(_TIMEOUT)
    if timeout is not None:
        timeout.restart()
        _shorten(connection)


def _shorten(connection: Connection) -> None:
    timeout = connection.info.get(_TIMEOUT)
    due_ms = None if timeout is None else timeout.due_ms()
    if due_ms is None:
        return
    # A cursor of the driver runs in the same transaction, but emits no further events.
    cursor = connection.connection.cursor()
    try:
        # Values are parameters, so that the driver can keep the statement prepared.
        cursor.execute(_SHORTEN, (str(due_ms), _IDLE_MS))
    finally:
        cursor.close()
