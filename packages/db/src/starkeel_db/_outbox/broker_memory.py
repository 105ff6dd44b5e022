"""The broker that was last confirmed, as a row that all relays of a service share, also after a restart."""

from datetime import UTC, datetime, timedelta
from typing import Final

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import Column, MetaData, SmallInteger, String, Table, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from .._plugin import DatabasePlugin
from .._session.unit_of_work import is_postgres

TABLE: Final = "outbox_broker"
_ROW: Final = 1
_MAX_IDENTITY: Final = 200
_CONFIRMED_EVERY_S: Final = 5.0
"""Seconds between updates of the row by all relays together."""
_LOST_S: Final = 300.0
"""Seconds before the last confirmation whose events another broker may lack: it replicated them late."""


def broker_table(metadata: MetaData) -> Table:
    """Return the table; add it to the metadata if necessary."""
    if TABLE in metadata.tables:
        return metadata.tables[TABLE]
    return Table(
        TABLE,
        metadata,
        Column("id", SmallInteger, primary_key=True, autoincrement=False),
        Column("identity", String(_MAX_IDENTITY), nullable=False),
        Column("confirmed_at", DateTimeUTC(timezone=True), nullable=False),
    )


class BrokerMemory:
    """Statements on the table.

    Args:
        database: Database of the outbox.
        table: The table.
        outbox: The table of events.
    """

    def __init__(self, database: DatabasePlugin, table: Table, outbox: Table) -> None:
        self._database = database
        self._table = table
        self._outbox = outbox

    async def confirm(self, identity: str, *, queried_at: datetime) -> int | None:
        """Record the broker's identity.

        Args:
            identity: Its identity.
            queried_at: When it was queried.

        Returns:
            Number of events that are to be published again, because the broker may lack them; None if the
            broker has not changed.
        """
        identity = identity[:_MAX_IDENTITY]
        known = select(self._table.c.identity, self._table.c.confirmed_at)
        async with self._database.session(reads_only=True) as session:
            row = (await session.execute(known)).first()
        fresh = queried_at - timedelta(seconds=_CONFIRMED_EVERY_S)
        if row is not None and row[0] == identity and row[1] > fresh:
            return None
        values = {"identity": identity, "confirmed_at": queried_at}
        async with self._database.session() as session:
            # A relay that records what it has published to the broker of before is waited for.
            lock = known.with_for_update(key_share=row is not None and row[0] == identity)
            row = (await session.execute(lock)).first()
            if row is None:
                await self._add(session, values)
                return None
            await session.execute(update(self._table).values(values))
            return None if row[0] == identity else await self._publish_again(session, since=row[1])

    async def is_last(self, session: AsyncSession, identity: str) -> bool:
        """Return whether no relay has found another broker; that waits until the transaction ends."""
        lock = select(self._table.c.identity).with_for_update(read=True, key_share=True)
        return await session.scalar(lock) == identity[:_MAX_IDENTITY]

    async def _add(self, session: AsyncSession, values: dict[str, object]) -> None:
        if is_postgres(session):
            from sqlalchemy.dialects.postgresql import insert
        else:
            from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # of the same form
        await session.execute(insert(self._table).values(id=_ROW, **values).on_conflict_do_nothing())

    async def _publish_again(self, session: AsyncSession, *, since: datetime) -> int:
        published_at = self._outbox.c.published_at
        # A clock that was set back must not shorten the time.
        since = min(since, datetime.now(UTC)) - timedelta(seconds=_LOST_S)
        again = update(self._outbox).where(published_at > since).values(published_at=None)
        return len((await session.scalars(again.returning(self._outbox.c.position))).all())
