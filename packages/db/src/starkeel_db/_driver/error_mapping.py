"""Which errors of a driver mean that the database cannot be used, whatever the statement was."""

import sqlite3
import time
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # untyped upstream
import structlog
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from .._base.errors import Conflict, DatabaseUnavailable, sqlite_code
from .postgres import Open

log = structlog.get_logger(__name__)

# Of SQLSTATE (PostgreSQL manual, appendix A): connection, resources, intervention (a shutdown, a statement
# that took too long), the rollback of one of two that collided, a lock that was not to be had.
_CLASSES = ("08", "53", "57", "40")
_CODES = {"25P03", "25P04", "25006", "55P03"}
# A server that became a standby: another one takes writes now, and new connections find it.
_READ_ONLY = "25006"
_CONFLICTS: dict[str | None, Conflict] = {"40001": "serialization", "40P01": "deadlock"}
# The database is well: the statement took too long, waited for a lock in vain, or lost a conflict.
_OF_ONE_STATEMENT = {"57014", "55P03", *_CONFLICTS}
# What may pass by itself; a missing table may not.
_SQLITE_CODES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
}
_OVER_AFTER_S = 1.0
"""Seconds without a failure after which an answer ends an outage."""


class Outages:
    """Turns such errors into `DatabaseUnavailable`, and tells when one begins and when it is over."""

    def __init__(self) -> None:
        self._is_away = False
        self._failed_at = 0.0

    def watch(self, engine: Engine) -> None:
        """Watch an engine's statements, commits included."""

        @event.listens_for(engine, "handle_error")
        def replace(context: ExceptionContext) -> DatabaseUnavailable | None:
            error = context.original_exception
            reason = outage(error, is_disconnect=context.is_disconnect)
            if reason is None:
                return None
            if (
                isinstance(error, OSError)
                or _is_broken(error)
                or getattr(error, "sqlstate", "") == _READ_ONLY
            ):
                context.is_disconnect = True
            state = getattr(error, "sqlstate", None)
            if state not in _OF_ONE_STATEMENT:
                self.tell(reason)
            return DatabaseUnavailable(reason, conflict=_CONFLICTS.get(state))

        @event.listens_for(engine, "after_cursor_execute")
        def note_answer(*_: Any) -> None:
            if self._is_away:
                self._note_answer()

    def opening(self, open_connection: Open) -> Open:
        """Tell of connections that cannot be opened."""

        async def opened() -> Any:
            try:
                return await open_connection()
            except DatabaseUnavailable as error:
                self.tell(error.reason)
                raise

        return opened

    def tell(self, reason: str) -> None:
        """Log that an outage began; requests that fail while it lasts say enough."""
        self._failed_at = time.monotonic()
        if not self._is_away:
            self._is_away = True
            log.warning("database unavailable", reason=reason)

    def _note_answer(self) -> None:
        # Of many connections some still fail when the first works again.
        if time.monotonic() - self._failed_at >= _OVER_AFTER_S:
            self._is_away = False
            log.info("database available again")


def outage(error: BaseException, *, is_disconnect: bool) -> str | None:
    """Return what is wrong with the database, or None when it is the statement that is wrong.

    Args:
        error: As the driver, or SQLAlchemy's rendering of it, raised it.
        is_disconnect: Whether the connection is gone.
    """
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
    return _first_line(error) if is_passing else None


def _is_broken(error: BaseException) -> bool:
    # Between the server's last words and the end of the connection asyncpg takes it for busy.
    return isinstance(getattr(error, "driver_exception", error), asyncpg.InternalClientError)


def _first_line(error: Exception) -> str:
    # SQLAlchemy's rendering of a driver's error begins with its class; details follow in further lines.
    text = str(getattr(error, "driver_exception", None) or error) or type(error).__name__
    return text.splitlines()[0]
