"""Maps driver errors that mean the database is unavailable to `DatabaseUnavailable`."""

import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext

from .._base.errors import Conflict, DatabaseUnavailable, ReadOnlySessionError, reason_of, sqlite_code
from .transactions import READ_ONLY

log = structlog.get_logger(__name__)

Open = Callable[[], Awaitable[Any]]
"""Opens a connection of the driver."""

# SQLSTATE (PostgreSQL manual, appendix A): connection exception, insufficient resources, operator
# intervention (shutdown, statement timeout), transaction rollback (deadlock, serialization); then session
# timeouts, read-only transaction, lock timeout.
_CLASSES = ("08", "53", "57", "40")
_CODES = {"25P03", "25P04", "25006", "55P03"}
_READ_ONLY_TRANSACTION = "25006"
_CONFLICTS: dict[str | None, Conflict] = {"40001": "serialization", "40P01": "deadlock"}
# Statement timeout, lock timeout and conflicts concern one statement; they are no outage.
_STATEMENT_ERRORS = {"57014", "55P03", *_CONFLICTS}
# SQLite's result codes that may pass without intervention: BUSY, LOCKED, READONLY, INTERRUPT, IOERR, FULL,
# CANTOPEN (sqlite.org/rescode.html). Numbers, because `sqlite3` is imported only where SQLite is used.
_SQLITE_CODES = {5, 6, 8, 9, 10, 13, 14}
_SQLITE_READONLY = 8
_OVER_AFTER_S = 1.0
"""Seconds without a failure after which a successful statement ends an outage."""


class OutageMonitor:
    """Maps driver errors to `DatabaseUnavailable` and logs the start and the end of an outage."""

    def __init__(self) -> None:
        self._is_away = False
        self._failed_at = 0.0

    def watch(self, engine: Engine) -> None:
        """Map the errors of an engine's statements and commits."""

        @event.listens_for(engine, "handle_error")
        def replace(context: ExceptionContext) -> DatabaseUnavailable | ReadOnlySessionError | None:
            error = context.original_exception
            reason = outage(error, is_disconnect=context.is_disconnect)
            if reason is None:
                return None
            state = getattr(error, "sqlstate", None)
            if _is_read_only(context.connection) and _is_refused_write(error):
                log.error("write refused in read-only session", reason=reason)
                return ReadOnlySessionError(reason)
            if isinstance(error, OSError) or _is_broken(error) or state == _READ_ONLY_TRANSACTION:
                # Also a server that has become a standby: new connections find the primary.
                context.is_disconnect = True
            if state not in _STATEMENT_ERRORS:
                self.report(reason)
            return DatabaseUnavailable(reason, conflict=_CONFLICTS.get(state))

        @event.listens_for(engine, "after_cursor_execute")
        def note_success(*_: Any) -> None:
            if self._is_away:
                self._note_success()

    def wrap(self, open_connection: Open) -> Open:
        """Return a function that also reports connections that cannot be opened."""

        async def opened() -> Any:
            try:
                return await open_connection()
            except DatabaseUnavailable as error:
                self.report(error.reason)
                raise

        return opened

    def report(self, reason: str) -> None:
        """Report a failure; only the first failure of an outage is logged."""
        self._failed_at = time.monotonic()
        if not self._is_away:
            self._is_away = True
            log.warning("database unavailable", reason=reason)

    def _note_success(self) -> None:
        # Some connections may still fail when others work again.
        if time.monotonic() - self._failed_at >= _OVER_AFTER_S:
            self._is_away = False
            log.info("database available again")


def outage(error: BaseException, *, is_disconnect: bool) -> str | None:
    """Return why the database is unavailable, or None if the error of the driver has another cause."""
    if not isinstance(error, Exception):
        return None
    state = getattr(error, "sqlstate", None)
    is_passing = (
        is_disconnect
        or isinstance(error, OSError)
        or _is_broken(error)
        or (isinstance(state, str) and (state.startswith(_CLASSES) or state in _CODES))
        or sqlite_code(error) in _SQLITE_CODES
    )
    return reason_of(error) if is_passing else None


def _is_read_only(connection: Connection | None) -> bool:
    return connection is not None and connection.get_execution_options().get(READ_ONLY, False)


def _is_refused_write(error: BaseException) -> bool:
    is_postgres = getattr(error, "sqlstate", None) == _READ_ONLY_TRANSACTION
    return is_postgres or sqlite_code(error) == _SQLITE_READONLY


def _is_broken(error: BaseException) -> bool:
    # asyncpg raises this when a statement is sent while the server is closing the connection. An error of
    # asyncpg exists only if the module is loaded.
    asyncpg: Any = sys.modules.get("asyncpg")
    return asyncpg is not None and isinstance(
        getattr(error, "driver_exception", error), asyncpg.InternalClientError
    )
