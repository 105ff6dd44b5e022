"""The transactional outbox: what happened is written with what it happened to, and told from there."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, final

import anyio
from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.plugins import InitPlugin
from sqlalchemy import MetaData, delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from .._plugin import DatabasePlugin
from .._retention import swept
from .._session.session import after_commit
from .relay import Broker, Relay
from .subscriptions import Notifier, Subscription, Subscriptions, current_traceparent
from .table import is_postgres, outbox_table
from .writer import PendingEvent, write_last

_SWEEP_EVERY_S: Final = 60.0
_SWEPT_AT_ONCE: Final = 1000
_CLOSE_S: Final = 2.0


@final
class Outbox(InitPlugin):
    """Takes events in a unit of work, and tells them once it is committed; the dependency `outbox`.

    Those who follow read the table: they miss nothing, in whichever process it happened, and find again what
    happened while they were away. A broker gets every event at least once, those of a key in order.
    The table is the service's own to migrate.

    Args:
        database: Where the events are.
        metadata: The models; a table `outbox` is added to them.
        retention: How long events can be read again; those a broker has not got yet are kept.
        broker: Where to publish; None for nowhere.
    """

    def __init__(
        self,
        database: DatabasePlugin,
        *,
        metadata: MetaData,
        retention: timedelta,
        broker: Broker | None = None,
    ) -> None:
        self._database = database
        self._retention = retention
        self._broker = broker
        self._table = outbox_table(metadata)
        self._notifier = Notifier()
        self._subscriptions = Subscriptions(database, self._table, self._notifier)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the dependency, and what runs while the application does."""
        app_config.dependencies.setdefault("outbox", Provide(lambda: self, sync_to_thread=False))
        app_config.signature_types.append(Outbox)
        app_config.lifespan.append(self._lifespan)
        return app_config

    async def add(self, session: AsyncSession, *, key: str, kind: str, payload: str) -> None:
        """Add an event to a unit of work; it is told when that is committed, and never otherwise.

        Its row is written last of all, in the transaction of the rest; within a savepoint it is written at
        once, and nobody else writes one with its key until the commit.

        Args:
            session: The unit of work.
            key: What it happened to, at most 64 characters.
            kind: What happened, at most 64 characters.
            payload: The rest, as JSON.

        Raises:
            UnitOfWorkIsOverError: The response has started.
        """
        await write_last(session, PendingEvent(key, kind, payload, current_traceparent()))
        after_commit(session, self._notifier.notify_all)

    def following(self, key: str, *, after: int | None = None) -> AbstractAsyncContextManager[Subscription]:
        """Follow a key's events, from the next one or from a position on.

        Args:
            key: Which.
            after: Position of the last event that is known.

        Raises:
            DatabaseUnavailable: It cannot be found out where `now` is.
        """
        return self._subscriptions.following(key, after=after)

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """What is on, and why."""
        told = (
            "to whom it concerns in every process, and to a broker" if self._broker else "within the service"
        )
        yield "outbox", True, f"events are told {told}"

    async def forget_old(self) -> int:
        """Delete events that are over; how many that were, at most a thousand."""
        table = self._table
        is_over = table.c.created_at <= datetime.now(UTC) - self._retention
        if self._broker is not None:
            is_over &= table.c.published_at.is_not(None)
        old = select(table.c.position).where(is_over).limit(_SWEPT_AT_ONCE)
        async with self._database.session() as session:
            if is_postgres(session):
                old = old.with_for_update(skip_locked=True)
            gone = await session.execute(
                delete(table).where(table.c.position.in_(old)).returning(table.c.position)
            )
            return len(gone.all())

    @asynccontextmanager
    async def _lifespan(self, _: Litestar) -> AsyncGenerator[None]:
        sweeping = swept(self.forget_old, "outbox", every_s=_SWEEP_EVERY_S, at_once=_SWEPT_AT_ONCE)
        try:
            async with sweeping, anyio.create_task_group() as tasks:
                tasks.start_soon(self._subscriptions.run)
                if self._broker is not None:
                    tasks.start_soon(Relay(self._database, self._table, self._broker, self._notifier).run)
                try:
                    yield
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            if self._broker is not None:
                with anyio.move_on_after(_CLOSE_S, shield=True):
                    await self._broker.close()
