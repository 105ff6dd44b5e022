"""Observes the statements of an engine: client spans, outages, and errors that mean it is unavailable.

Names and attributes of spans follow OpenTelemetry's stable semantic conventions for database clients. The
recorded query text has `?` in place of literals; parameters are never recorded.
"""

import re
import sys
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, Final

import structlog
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_current_span, get_tracer
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import ExceptionContext

from .._base.dsn import DatabaseUrl, PostgresUrl
from .._base.errors import (
    Conflict,
    DatabaseUnavailable,
    ReadOnlySessionError,
    driver_error,
    reason_of,
    sqlite_code,
    sqlstate,
)
from .pool import WAITED_S
from .stale_plans import is_stale
from .transactions import READ_ONLY

log = structlog.get_logger(__name__)

Open = Callable[[], Awaitable[Any]]
"""Opens a connection of the driver."""

# SQLSTATE (PostgreSQL manual, appendix A): connection exception, insufficient resources, operator
# intervention (shutdown, statement timeout), transaction rollback (deadlock, serialization); then session
# timeouts, read-only transaction, lock timeout, failures of the operating system or its files.
_CLASSES: Final = ("08", "53", "57", "40")
_CODES: Final = {"25P03", "25P04", "25006", "55P03", "58000", "58030"}
_READ_ONLY_TRANSACTION: Final = "25006"
_CONFLICTS: Final[dict[str | None, Conflict]] = {"40001": "serialization", "40P01": "deadlock"}
# Statement timeout, lock timeout and conflicts concern one statement; they are no outage.
_STATEMENT_ERRORS: Final = {"57014", "55P03", *_CONFLICTS}
# SQLite's result codes that may pass without intervention: BUSY, LOCKED, READONLY, INTERRUPT, IOERR, FULL,
# CANTOPEN (sqlite.org/rescode.html). Numbers, because `sqlite3` is imported only where SQLite is used.
_SQLITE_CODES: Final = {5, 6, 8, 9, 10, 13, 14}
_SQLITE_READONLY: Final = 8
_OVER_AFTER_S: Final = 1.0
"""Seconds without a failure after which a successful statement ends an outage."""

_SPAN: Final = "starkeel_span"
_MAX_TEXT: Final = 2048
_WAIT_TIME: Final = "db.client.connection.wait_time"
"""Seconds; named like the metric in OpenTelemetry's conventions."""
_TARGET: Final = re.compile(
    r"\b(?:FROM|INTO|UPDATE|TABLE|JOIN)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?([\w.\"]+)", re.IGNORECASE
)
_VERB: Final = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE|SELECT)\b", re.IGNORECASE)
_STRING: Final = re.compile(r"'(?:[^']|'')*'")
_NUMBER: Final = re.compile(r"(?<![\w$:.])\d+(?:\.\d+)?(?![\w.])")
# Quoting that the patterns above do not handle; such statements are not recorded.
_UNSUPPORTED: Final = re.compile(r"\\|\$\$|\$[A-Za-z_]|--|/\*")


class StatementMonitor:
    """Records statements as client spans, maps their errors, and logs the start and the end of an outage."""

    answered_at = float("-inf")
    """Monotonic seconds at which the last statement succeeded."""
    _is_unavailable = False
    _failed_at = 0.0

    def __init__(self, target: DatabaseUrl) -> None:
        self._server = _server_attributes(target)
        self._tracer = get_tracer("starkeel_db")

    def watch(self, engine: Engine) -> None:
        """Observe the statements and commits of an engine."""
        event.listen(engine, "before_cursor_execute", self._start_span)
        event.listen(engine, "after_cursor_execute", self._note_success)
        event.listen(engine, "handle_error", self._replace)
        event.listen(engine, "handle_error", self._end_failed_span)

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
        if not self._is_unavailable:
            self._is_unavailable = True
            log.warning("database unavailable", reason=reason)

    def _start_span(self, connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if not get_current_span().is_recording():
            return
        name, operation, described = _summary(statement)
        if operation == "BEGIN":
            return
        info, attributes = connection.info, {**self._server, **described}
        if WAITED_S in info:
            # Recorded once per checkout, on its first statement.
            attributes[_WAIT_TIME] = info.pop(WAITED_S)
        info[_SPAN] = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)

    def _note_success(self, connection: Connection, *_: Any) -> None:
        self.answered_at = time.monotonic()
        # Some connections may still fail when others work again.
        if self._is_unavailable and self.answered_at - self._failed_at >= _OVER_AFTER_S:
            self._is_unavailable = False
            log.info("database available again")
        span: Span | None = connection.info.pop(_SPAN, None)
        if span is not None:
            span.end()

    def _replace(self, context: ExceptionContext) -> DatabaseUnavailable | ReadOnlySessionError | None:
        error = context.original_exception
        if is_stale(error):
            # The statements of all connections are prepared again: a repetition succeeds.
            return DatabaseUnavailable(reason_of(error), conflict="schema_change")
        reason = outage(error, is_disconnect=context.is_disconnect)
        if reason is None:
            return None
        state = sqlstate(error)
        is_refused_write = state == _READ_ONLY_TRANSACTION or sqlite_code(error) == _SQLITE_READONLY
        options = {} if context.connection is None else context.connection.get_execution_options()
        if is_refused_write and options.get(READ_ONLY, False):
            log.error("write refused in read-only session", reason=reason)
            return ReadOnlySessionError(reason)
        if isinstance(driver_error(error), OSError) or _is_broken(error) or state == _READ_ONLY_TRANSACTION:
            # Also a server that has become a standby: new connections find the primary.
            context.is_disconnect = True
        if state not in _STATEMENT_ERRORS:
            self.report(reason)
        return DatabaseUnavailable(reason, conflict=_CONFLICTS.get(state))

    def _end_failed_span(self, context: ExceptionContext) -> None:
        if context.connection is None or context.connection.invalidated:
            return
        span: Span | None = context.connection.info.pop(_SPAN, None)
        if span is not None:
            error = context.original_exception
            span.set_attribute("error.type", sqlstate(error) or type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR))
            span.end()


def outage(error: BaseException, *, is_disconnect: bool) -> str | None:
    """Return why the database is unavailable, or None if the error of the driver has another cause."""
    if not isinstance(error, Exception) or is_stale(error):
        return None
    state = sqlstate(error)
    is_passing = (
        is_disconnect
        or isinstance(driver_error(error), OSError)
        or _is_broken(error)
        or (state is not None and (state.startswith(_CLASSES) or state in _CODES))
        or sqlite_code(error) in _SQLITE_CODES
    )
    return reason_of(error) if is_passing else None


def _is_broken(error: BaseException) -> bool:
    # asyncpg raises this when a statement is sent while the server is closing the connection. An error of
    # asyncpg exists only if the module is loaded.
    asyncpg: Any = sys.modules.get("asyncpg")
    return asyncpg is not None and isinstance(driver_error(error), asyncpg.InternalClientError)


@lru_cache(maxsize=1024)
def _summary(statement: str) -> tuple[str, str, dict[str, str]]:
    """Return the name and the operation of a statement, and its attributes: the text has no literals."""
    operation = (statement.split(None, 1) or ["?"])[0].upper()[:32]
    if operation == "WITH" and (verb := _VERB.search(statement)):
        operation = verb[0].upper()
    found = _TARGET.search(statement)
    target = found[1].replace('"', "") if found else ""
    name = f"{operation} {target}".strip()
    attributes = {"db.operation.name": operation, "db.query.summary": name}
    if target:
        attributes["db.collection.name"] = target
    if not _UNSUPPORTED.search(statement):
        text = _NUMBER.sub("?", _STRING.sub("?", statement))
        attributes["db.query.text"] = text[:_MAX_TEXT]
    return name, operation, attributes


def _server_attributes(target: DatabaseUrl) -> dict[str, str | int | float]:
    if isinstance(target, PostgresUrl):
        return {
            "db.system.name": "postgresql",
            "db.namespace": target.database,
            "server.address": target.addresses[0].host,
            "server.port": target.addresses[0].port,
        }
    return {"db.system.name": "sqlite", "db.namespace": target.path.name}
