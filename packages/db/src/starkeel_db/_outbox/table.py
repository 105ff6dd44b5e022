"""The outbox table and its queries."""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    bindparam,
    func,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession

from .._session.unit_of_work import is_postgres

TABLE: Final = "outbox"
_READ_AT_ONCE: Final = 1000


class Event(NamedTuple):
    """An event as it is published.

    Args:
        position: Position in the outbox; it increases among the events of a key.
        key: Ordering key: events with the same key are published in order.
        kind: Kind of event.
        payload: Content, as JSON.
        traceparent: Span in which the event happened, as a W3C `traceparent`, or None if it was not traced.
    """

    position: int
    key: str
    kind: str
    payload: str
    traceparent: str | None = None


def outbox_table(metadata: MetaData, *, dialect: str) -> Table:
    """Return the table; add it to the metadata if necessary.

    It has options of the given dialect only, because SQLAlchemy imports the dialects of options.
    """
    found = metadata.tables.get(TABLE)
    if found is not None:
        return found
    # SQLite: positions must not be reused after the last rows are deleted.
    options: dict[str, Any] = {"sqlite_autoincrement": True} if dialect == "sqlite" else {}
    where: dict[str, Any] = {f"{dialect}_where": text("published_at IS NULL")}
    return Table(
        TABLE,
        metadata,
        Column(
            "position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
        ),
        Column("key", String(64), nullable=False),
        Column("kind", String(64), nullable=False),
        Column("payload", Text, nullable=False),
        Column("created_at", DateTimeUTC(timezone=True), nullable=False, index=True),
        Column("published_at", DateTimeUTC(timezone=True)),
        Column("attempts", SmallInteger, nullable=False, server_default="0"),
        Column("retry_at", DateTimeUTC(timezone=True)),
        Column("dead_at", DateTimeUTC(timezone=True)),
        Column("traceparent", String(55)),
        Index("ix_outbox_key_position", "key", "position"),
        Index("ix_outbox_unpublished", "position", **where),
        **options,
    )


async def last_position(session: AsyncSession, table: Table, key: str) -> int:
    """Return the position of the last event of a key; 0 if there is none."""
    last = await session.scalar(select(func.max(table.c.position)).where(table.c.key == key))
    return last or 0


_EVENTS: Final = "SELECT o.position, o.key, o.kind, o.payload, o.traceparent FROM outbox AS o JOIN "
_REST: Final = f" ORDER BY o.position LIMIT {_READ_AT_ONCE}"
_ON_POSTGRES: Final = text(
    f"{_EVENTS} unnest(CAST(:keys AS text[]), CAST(:seen AS bigint[])) AS w(key, seen)"
    f" ON o.key = w.key AND o.position > w.seen {_REST}"
).bindparams(bindparam("keys"), bindparam("seen"))
_ON_SQLITE: Final = text(
    f"{_EVENTS} json_each(:seen) AS w"
    f" ON o.key = json_extract(w.value, '$[0]') AND o.position > json_extract(w.value, '$[1]') {_REST}"
)


async def events_after(session: AsyncSession, seen: Mapping[str, int]) -> list[Event]:
    """Return at most 1000 events in order, given the last seen position of each key."""
    if is_postgres(session):
        parameters: dict[str, Any] = {"keys": list(seen), "seen": list(seen.values())}
        rows = await session.execute(_ON_POSTGRES, parameters)
    else:
        rows = await session.execute(_ON_SQLITE, {"seen": json.dumps(list(seen.items()))})
    return [Event(*row) for row in rows]
