"""Statements that need no transaction: PostgreSQL gives each its own, without a BEGIN and a COMMIT."""

import re
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Connection, Engine, event

_LOCKS_OR_WRITES: Final = re.compile(r"\bFOR\s|\bINTO\b|;|\"\s*\(|\.\s*\w+\s*\(", re.IGNORECASE)
_CALLED: Final = re.compile(r"\b([a-z_]\w*)\s*\(", re.IGNORECASE)
# What a bracket may follow: keywords, types with a length, functions that change nothing and lock nothing.
_HARMLESS: Final = frozenset(
    re.findall(
        r"\w+",
        "all and any array as between by case else except exists filter from having in intersect join "
        "not on or over some then union values when where bit char decimal interval numeric time "
        "timestamp varchar abs age array_agg avg cast ceil char_length coalesce concat count date_trunc "
        "extract floor greatest json_agg json_build_object jsonb_agg jsonb_build_object least length "
        "lower max min mod now nullif position rank round row_number string_agg substring sum to_char "
        "trim unnest upper ",
    )
)


@lru_cache(maxsize=1024)
def is_plain_read(statement: str) -> bool:
    """Whether a statement only reads, as far as its text can tell: what is in doubt is not plain.

    Args:
        statement: SQL.
    """
    if not statement.lstrip().upper().startswith("SELECT") or _LOCKS_OR_WRITES.search(statement):
        return False
    return all(name.lower() in _HARMLESS for name in _CALLED.findall(statement))


def read_plainly(connection: Connection) -> None:
    """Have a transaction of the session begin only with the first statement that is more than a plain read.

    Args:
        connection: The session's, on an engine that begins when needed.
    """
    adapted: Any = connection.connection.dbapi_connection
    # Whoever asked for an isolation level wants a transaction.
    if adapted.isolation_level is None:
        adapted.autocommit = True


def begin_at_last(connection: Connection) -> None:
    """Have the next statement begin a transaction, whatever it is."""
    adapted: Any = connection.connection.dbapi_connection
    if adapted.autocommit:
        adapted.autocommit = False


def begin_when_needed(engine: Engine) -> None:
    """Watch an engine's statements for what needs a transaction."""

    @event.listens_for(engine, "before_cursor_execute")
    def look(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        adapted: Any = connection.connection.dbapi_connection
        if adapted.autocommit and (cursor.server_side or not is_plain_read(statement)):
            adapted.autocommit = False

    @event.listens_for(engine, "checkin")
    def forget(adapted: Any, _: Any) -> None:
        if adapted is not None and adapted.autocommit:
            adapted.autocommit = False
