"""The outbox table and its events."""

from typing import Any, Final, NamedTuple

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, SmallInteger, String, Table, Text, text

TABLE: Final = "outbox"


class Event(NamedTuple):
    """An event as it is published.

    Args:
        position: Position in the outbox; it increases among the events of a key.
        key: Ordering key: events with the same key are published in order.
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
    if TABLE in metadata.tables:
        return metadata.tables[TABLE]
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
