"""Transactional outbox: events are written in the transaction of the change they describe."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, final

import anyio
from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.plugins import InitPlugin
from sqlalchemy import MetaData, Table
from sqlalchemy.ext.asyncio import AsyncSession

from .._plugin import DatabasePlugin, database_of
from .._retention import delete_batch, deleting_unless_scheduled
from .._session.unit_of_work import after_commit
from .broker_memory import BrokerMemory, broker_table
from .publishing import Broker
from .relay import Relay
from .subscription import Subscription
from .subscriptions import Subscriptions
from .writer import Notifier, outbox_table, write_last

_CLOSE_S: Final = 2.0


@final
class OutboxPlugin(InitPlugin):
    """Publishes the events of committed units of work; the dependency `outbox`.

    Subscribers read the table: they receive the events of all processes, and those of the past. A broker gets
    every event at least once, and events with the same key in order. The service's migrations must create the
    table, and `outbox_broker` for a broker that has an identity.

    Args:
        database: Database of the service; by default that of the application's `DatabasePlugin`.
        metadata: Metadata of the models, by default the database's; the tables are added to it.
        retention: How long events are kept; events that the broker has not received yet are kept longer.
        broker: Broker to publish to, or None.
    """

    _database: DatabasePlugin
    _table: Table
    _broker_table: Table | None = None
    _subscriptions: Subscriptions

    def __init__(
        self,
        database: DatabasePlugin | None = None,
        *,
        metadata: MetaData | None = None,
        retention: timedelta,
        broker: Broker | None = None,
    ) -> None:
        self._given = database
        self._metadata = metadata
        self._retention = retention
        self._broker = broker
        self._has_identity = hasattr(broker, "identity")
        self._notifier = Notifier()

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the table, the dependency and the background tasks."""
        self._database = database = self._given or database_of(app_config)
        self._metadata = self._metadata or database.metadata
        self._table = outbox_table(self._metadata, dialect=database.settings.target.dialect)
        self._add_broker_table()
        self._subscriptions = Subscriptions(database, self._table, retention=self._retention)
        app_config.dependencies.setdefault("outbox", Provide(lambda: self, sync_to_thread=False))
        app_config.signature_types.append(OutboxPlugin)
        app_config.lifespan.append(self._lifespan)
        return app_config

    def publish_to(self, broker: Broker | None) -> None:
        """Publish to a broker that has an identity; called before the start, such as by another plugin.

        With None, which stands for one that is not configured, only the table `outbox_broker` is added: what
        migrations create does not depend on the configuration.
        """
        self._broker = broker
        self._has_identity = True
        self._add_broker_table()

    async def add(self, session: AsyncSession, *, key: str, kind: str, payload: str) -> None:
        """Add an event to a unit of work; it is published after the commit, and discarded on a rollback.

        The row is written at the end of the transaction; within a savepoint it is written at once, and other
        writers of the key wait until the commit.

        `key` orders events, such as the ID of the changed object; it and `kind` have at most 64 characters.
        `payload` is JSON.

        Raises:
            UnitOfWorkIsOverError: The response has started.
        """
        await write_last(session, key=key, kind=kind, payload=payload)
        after_commit(session, partial(self._committed, key))

    def following(self, key: str, *, after: int | None = None) -> AbstractAsyncContextManager[Subscription]:
        """Subscribe to the events of a key after the last known position, or to new events only.

        If events after `after` may be deleted, as the retention is over, or while the subscriber reads
        slowly, the next event has the kind `GAP` and the payload `{"last_event_id": "..."}`: the subscriber
        must read the state again. Position 0 stands for all stored events, without a gap.

        Raises:
            DatabaseUnavailable: The current position cannot be read.
        """
        return self._subscriptions.following(key, after=after)

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """Yield the features for the start log: name, whether it is on, and the reason."""
        place = "to a broker" if self._broker else "within the service"
        yield "outbox", True, f"events are published {place}"

    async def delete_old_rows(self) -> int:
        """Delete at most 1000 events older than the retention and return their number."""
        table = self._table
        is_over = table.c.created_at <= datetime.now(UTC) - self._retention
        if self._broker is not None:
            is_over &= table.c.published_at.is_not(None)
        async with self._database.session() as session:
            return await delete_batch(session, table.c.position, is_over, is_ordered=True)

    def _add_broker_table(self) -> None:
        if self._has_identity and self._metadata is not None:
            self._broker_table = broker_table(self._metadata)

    def _relay(self, broker: Broker) -> Relay:
        table, memory = self._broker_table, None
        if table is not None:
            memory = BrokerMemory(self._database, table, self._table)
        return Relay(self._database, self._table, broker, self._notifier, memory=memory)

    def _committed(self, key: str) -> None:
        self._subscriptions.notify(key)
        self._notifier.notify_all()

    @asynccontextmanager
    async def _lifespan(self, app: Litestar) -> AsyncGenerator[None]:
        deleting = deleting_unless_scheduled(app, self.delete_old_rows, "outbox")
        try:
            async with deleting, anyio.create_task_group() as tasks:
                tasks.start_soon(self._subscriptions.run)
                if self._broker is not None:
                    tasks.start_soon(self._relay(self._broker).run)
                try:
                    yield
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            if self._broker is not None:
                with anyio.move_on_after(_CLOSE_S, shield=True):
                    await self._broker.close()
