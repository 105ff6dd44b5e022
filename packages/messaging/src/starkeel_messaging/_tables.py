"""The table of topics that a service consumes."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import Column, MetaData, String, Table, Text, case, func, literal, select, update
from sqlalchemy.ext.asyncio import AsyncSession

TABLE: Final = "event_topics"
_TIME: Final = DateTimeUTC(timezone=True)


def topics_table(metadata: MetaData) -> Table:
    """Return the table; add it to the metadata if necessary.

    A row is a topic: up to which position its events are received, and the process that receives them.
    """
    found = metadata.tables.get(TABLE)
    if found is not None:
        return found
    return Table(
        TABLE,
        metadata,
        Column("topic", String(100), primary_key=True),
        Column("position", Text, nullable=False),
        Column("broker", String(100), nullable=False),
        Column("holder", String(100)),
        Column("held_until", _TIME),
    )


class LeaseLostError(Exception):
    """Another process receives the events of the topic."""


class Topics:
    """Statements on the table.

    Args:
        table: The table.
        is_postgres: Whether the database is PostgreSQL, whose time decides about leases.
    """

    def __init__(self, table: Table, *, is_postgres: bool) -> None:
        self._table = table
        self._is_postgres = is_postgres

    async def add(self, session: AsyncSession, topic: str) -> None:
        """Add a topic that is not there yet, before its first event."""
        if self._is_postgres:
            from sqlalchemy.dialects.postgresql import insert
        else:
            from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # of the same form
        row = insert(self._table).values(topic=topic, position="", broker="")
        await session.execute(row.on_conflict_do_nothing())

    async def hold(
        self, session: AsyncSession, topic: str, *, holder: str, lease_s: float
    ) -> tuple[str, str] | None:
        """Take or renew the lease; return position and broker, or None if another process has it."""
        columns = self._table.c
        is_free = (columns.holder == holder) | columns.held_until.is_(None) | (columns.held_until < self._now)
        held = (
            update(self._table)
            .where(columns.topic == topic, is_free)
            .values(holder=holder, held_until=self._later(lease_s))
            .returning(columns.position, columns.broker)
        )
        row = (await session.execute(held)).first()
        return None if row is None else (row[0], row[1])

    async def move(
        self, session: AsyncSession, topic: str, *, holder: str, lease_s: float, position: str, broker: str
    ) -> None:
        """Record a position, and renew the lease.

        Raises:
            LeaseLostError: This process does not have it.
        """
        columns = self._table.c
        moved = (
            update(self._table)
            .where(columns.topic == topic, columns.holder == holder)
            .values(position=position, broker=broker, held_until=self._later(lease_s))
            .returning(columns.topic)
        )
        if (await session.execute(moved)).first() is None:
            raise LeaseLostError

    async def release(self, session: AsyncSession, topic: str, *, holder: str) -> None:
        """Let another process take the lease at once."""
        columns = self._table.c
        await session.execute(
            update(self._table)
            .where(columns.topic == topic, columns.holder == holder)
            .values(holder=None, held_until=None)
        )

    async def move_back(self, session: AsyncSession, topic: str, *, position: str) -> None:
        """Set the position; the process that receives the topic loses its lease, and reads it again."""
        row = update(self._table).where(self._table.c.topic == topic)
        await session.execute(row.values(position=position, holder=None, held_until=None))

    async def holders(self, session: AsyncSession) -> list[tuple[str, str, str | None]]:
        """Return topic, position and the process that receives it, if any, of each topic."""
        columns = self._table.c
        holder = case((columns.held_until >= self._now, columns.holder))
        rows = await session.execute(select(columns.topic, columns.position, holder).order_by(columns.topic))
        return [(topic, position, name) for topic, position, name in rows]

    @property
    def _now(self) -> Any:
        return self._later(0.0)

    def _later(self, seconds: float) -> Any:
        if self._is_postgres:
            return func.now() + timedelta(seconds=seconds)
        return literal(datetime.now(UTC) + timedelta(seconds=seconds), _TIME)
