"""Reads events of several keys with one query, at most a page of each."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Table, func, select, text

from .._plugin import DatabasePlugin
from .._session.unit_of_work import is_postgres
from .writer import GAP, Event

PAGE: Final = 100
"""Maximum number of events of a key that one query returns."""
MAX_ROWS: Final = 1000
"""Maximum number of events that one query returns."""
MAX_KEYS: Final = 256
"""Maximum number of keys whose events one query reads."""

_COLUMNS: Final = "o.position, o.key, o.kind, o.payload, o.traceparent"
_ON_POSTGRES: Final = text(
    f"SELECT w.number - 1, {_COLUMNS} FROM"  # noqa: S608 - constants
    " unnest(CAST(:keys AS text[]), CAST(:seen AS bigint[])) WITH ORDINALITY AS w(key, seen, number)"
    " CROSS JOIN LATERAL (SELECT * FROM outbox WHERE key = w.key AND position > w.seen"
    f" ORDER BY position LIMIT {PAGE}) AS o ORDER BY w.number, o.position LIMIT {MAX_ROWS}"
)
# SQLite has no LATERAL; CROSS JOIN keeps the order of the tables, so that each page is found by the index.
_ON_SQLITE: Final = text(
    f"SELECT w.key, {_COLUMNS} FROM json_each(:starts) AS w CROSS JOIN outbox AS o"  # noqa: S608 - constants
    " ON o.position IN (SELECT i.position FROM outbox AS i WHERE i.key = json_extract(w.value, '$[0]')"
    f" AND i.position > json_extract(w.value, '$[1]') ORDER BY i.position LIMIT {PAGE})"
    f" ORDER BY w.key, o.position LIMIT {MAX_ROWS}"
)
_RECENT: Final = text(
    "SELECT key, max(position) FROM (SELECT key, position FROM outbox WHERE position > :since"
    " ORDER BY position LIMIT 20000) AS recent GROUP BY key"
)
_LAST: Final = text("SELECT coalesce(max(position), 0) FROM outbox")


async def read_last_position(database: DatabasePlugin) -> int:
    """Return the highest visible position."""
    async with database.session(reads_only=True) as session:
        return int((await session.execute(_LAST)).scalar_one())


async def read_recent_keys(database: DatabasePlugin, since: int) -> tuple[list[str], int]:
    """Return the keys of the events after a position, and the highest of their positions."""
    async with database.session(reads_only=True) as session:
        rows = (await session.execute(_RECENT, {"since": since})).all()
    return [key for key, _ in rows], max((last for _, last in rows), default=since)


async def read_pages(database: DatabasePlugin, starts: Sequence[tuple[str, int]]) -> list[list[Event]]:
    """Return the next events of each pair of a key and the position after which to read.

    A page is complete, or shorter because there are no more events. Pages that are left out, because the
    first ones have `MAX_ROWS` events together, are missing at the end of the list.
    """
    async with database.session(reads_only=True) as session:
        if is_postgres(session):
            lists = {"keys": [key for key, _ in starts], "seen": [seen for _, seen in starts]}
            rows = (await session.execute(_ON_POSTGRES, lists)).all()
        else:
            rows = (await session.execute(_ON_SQLITE, {"starts": json.dumps(starts)})).all()
    pages: list[list[Event]] = [[] for _ in starts]
    for number, *event in rows:
        pages[number].append(Event(*event))
    if len(rows) < MAX_ROWS:
        return pages
    # The end of the last page may be cut off.
    last: int = rows[-1][0]
    return pages[: last + 1] if len(pages[last]) == PAGE else pages[:last]


async def read_gaps(
    database: DatabasePlugin, table: Table, starts: Sequence[tuple[str, int]], *, retention: timedelta
) -> list[Event | None]:
    """Return for each pair of a key and a position an event of kind `GAP`, if later events may be deleted.

    Rows are deleted in the order of their positions. Nothing after a position is deleted if its own row still
    exists, or if it is not before the first row that is younger than the retention.

    The position of the gap is one from which a client can resume without a gap for half of the retention, if
    there is any; transactions are shorter, so that none of them adds an event before it.
    """
    columns, now = table.c, datetime.now(UTC)
    async with database.session(reads_only=True) as session:
        own = select(columns.key, columns.position).where(columns.position.in_([seen for _, seen in starts]))
        stored = {(key, position) for key, position in (await session.execute(own)).all()}
        if stored.issuperset(starts):
            return [None] * len(starts)
        first = select(func.min(columns.position)).where(columns.created_at > now - retention)
        settled = select(func.max(columns.position)).where(columns.created_at <= now - retention / 2)
        (found,) = (await session.execute(select(first.scalar_subquery(), settled.scalar_subquery()))).all()
    oldest, resume = found
    before = None if oldest is None else oldest - 1
    return [
        None
        if start in stored or (before is not None and start[1] >= before)
        else _gap(*start, resume=max(start[1], resume or before or 0))
        for start in starts
    ]


def _gap(key: str, seen: int, *, resume: int) -> Event:
    return Event(resume, key, GAP, json.dumps({"last_event_id": str(seen)}))
