"""Executes a statement again whose prepared form a change of the schema made invalid.

PostgreSQL refuses a prepared statement whose result has other types than when it was prepared, and then the
rest of its transaction. Each connection has its prepared statements: all are prepared again before their
next use.
"""

import re
import sys
import time
from functools import lru_cache
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Engine, event

from .._base.errors import driver_error, reason_of
from .._compat import invalidate_plans
from .transactions import restart_deadline

log = structlog.get_logger(__name__)

_PAST: Final = "starkeel_past"
"""Key in a connection's `record_info`: what its transaction has executed, `_READS` or `_EFFECTS`."""
_READS: Final = "reads"
_EFFECTS: Final = "effects"
_LOGGED_EVERY_S: Final = 1.0

_CALL: Final = re.compile(r'([\w"]+)\s*\(')
_LOCKING: Final = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+UPDATE|UPDATE|KEY\s+SHARE|SHARE)\b", re.IGNORECASE)
# Names before a parenthesis that take no lock and write nothing; all others may.
_HARMLESS: Final = frozenset(
    {
        *("all", "and", "any", "as", "case", "else", "exists", "from", "in", "not", "on", "or", "over"),
        *("select", "then", "union", "using", "values", "when", "where"),
        *("cast", "char", "numeric", "timestamp", "varchar"),
        *("avg", "coalesce", "count", "lower", "max", "min", "sum", "upper"),
    }
)


def is_stale(error: BaseException) -> bool:
    """Return whether an error means that a prepared statement or a cached type is out of date."""
    asyncpg: Any = sys.modules.get("asyncpg")
    # An error of asyncpg exists only if the module is loaded.
    if asyncpg is None:
        return False
    found = driver_error(error)
    kinds = asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError
    return isinstance(found, (*kinds, asyncpg.InvalidSQLStatementNameError)) or (
        # A type that was dropped and created again.
        isinstance(found, asyncpg.InternalServerError) and "cache lookup failed" in str(found)
    )


def heal_stale_plans(engine: Engine) -> None:
    """Execute statements again that are stale, where nothing of their transaction can be lost.

    That is the case in autocommit mode, for the first statement of a transaction, and after statements that
    only read, if each of them has a snapshot of its own (READ COMMITTED). Elsewhere the unit of work fails
    with `DatabaseUnavailable`, and its repetition succeeds.
    """
    logged_at = float("-inf")

    def invalidate(cursor: Any, error: Exception) -> None:
        nonlocal logged_at
        invalidate_plans(engine.dialect, cursor)
        # Each busy connection has the same error.
        if time.monotonic() - logged_at >= _LOGGED_EVERY_S:
            logged_at = time.monotonic()
            log.info("prepared statements invalidated", reason=reason_of(error))

    @event.listens_for(engine, "begin")
    def forget(connection: Connection) -> None:
        _info(connection).pop(_PAST, None)

    @event.listens_for(engine, "do_execute")
    def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        connection: Connection = context.root_connection
        info = _info(connection)
        try:
            cursor.execute(statement, parameters)
        except Exception as error:
            if not is_stale(error):
                raise
            invalidate(cursor, error)
            adapted: Any = connection.connection.dbapi_connection
            if not _may_restart(connection, adapted):
                raise
            adapted.rollback()
            restart_deadline(connection)
            cursor.execute(statement, parameters)
        if info.get(_PAST) is not _EFFECTS:
            info[_PAST] = _READS if not cursor.server_side and _only_reads(statement) else _EFFECTS
        return True


def _info(connection: Connection) -> Any:
    # Unlike `info`, it exists while SQLAlchemy initializes its dialect on the first connection.
    return connection.connection.record_info


def _may_restart(connection: Connection, adapted: Any) -> bool:
    past = _info(connection).get(_PAST)
    if past is None or adapted.autocommit:
        return True
    level = adapted.isolation_level or connection.default_isolation_level or ""
    return past is _READS and level.replace("_", " ").upper() == "READ COMMITTED"


@lru_cache(maxsize=1024)
def _only_reads(statement: str) -> bool:
    """Return whether a statement certainly takes no lock and changes nothing."""
    names = {name.lower() for name in _CALL.findall(statement)}
    return (
        statement.lstrip()[:6].upper() == "SELECT"
        and _HARMLESS.issuperset(names)
        and _LOCKING.search(statement) is None
    )
