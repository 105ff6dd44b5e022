"""A process with an outbox, and a broker, for the tests of the outbox."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

from litestar import Litestar
from sqlalchemy import MetaData, text
from starkeel_config import Secret
from starkeel_db import (
    Broker,
    BrokerUnavailableError,
    DatabasePlugin,
    DatabaseSettings,
    Event,
    OutboxPlugin,
)

HOUR = timedelta(hours=1)


class Shelf:
    """A broker that stores events, and can be unavailable or refuse some."""

    def __init__(self) -> None:
        self.got: list[Event] = []
        self.is_unavailable = False
        self.refuses: set[str] = set()

    async def publish(self, event: Event) -> None:
        if self.is_unavailable:
            raise BrokerUnavailableError("down")
        if event.payload in self.refuses:
            raise ValueError("not that event")
        self.got.append(event)

    async def close(self) -> None:
        pass


class Box:
    """A process with its database and its outbox."""

    def __init__(self, app: Litestar, database: DatabasePlugin, outbox: OutboxPlugin) -> None:
        self.app = app
        self.database = database
        self.outbox = outbox

    async def add(self, key: str, *payloads: str) -> None:
        async with self.database.session() as session:
            for payload in payloads:
                await self.outbox.add(session, key=key, kind="happened", payload=payload)

    async def execute(self, statement: str) -> list[Any]:
        async with self.database.session() as session:
            result = await session.execute(text(statement))
            return list(result.all()) if result.returns_rows else []


@asynccontextmanager
async def boxes(
    url: str, count: int = 1, *, broker: Broker | None = None, handlers: Sequence[Any] = ()
) -> AsyncGenerator[list[Box]]:
    """Start `count` processes on a database."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            metadata = MetaData()
            settings = DatabaseSettings(url=Secret(url), min_connections=0)
            database = DatabasePlugin(settings, metadata=metadata, migrations="library.migrations")
            outbox = OutboxPlugin(database, metadata=metadata, retention=HOUR, broker=broker)
            app = Litestar(handlers, plugins=[database, _Tables(database, metadata), outbox])
            await stack.enter_async_context(app.lifespan())
            found.append(Box(app, database, outbox))
        yield found


class _Tables:
    """Creates the table before the outbox is used."""

    def __new__(cls, database: DatabasePlugin, metadata: MetaData) -> Any:
        from litestar.plugins import InitPlugin

        class Tables(InitPlugin):
            def on_app_init(self, app_config: Any) -> Any:
                app_config.lifespan.append(self.lifespan)
                return app_config

            @asynccontextmanager
            async def lifespan(self, _: Litestar) -> AsyncGenerator[None]:
                async with database.session() as session:
                    await (await session.connection()).run_sync(metadata.create_all)
                yield

        return Tables()
