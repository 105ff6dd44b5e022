"""An application with events on a real database and a real broker, for the tests."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from secrets import token_hex
from typing import Any

import msgspec
from litestar import Litestar
from sqlalchemy import Column, Integer, MetaData, String, Table, text
from starkeel_config import Secret
from starkeel_db import DatabasePlugin, DatabaseSettings, OutboxPlugin
from starkeel_jobs import JobSettings, JobsPlugin
from starkeel_messaging import EventContext, EventType, MessagingPlugin, MessagingSettings, on_event
from starkeel_messaging._brokers.base import BrokerClient, Outgoing
from starkeel_messaging._plugin import _client


class Packed(msgspec.Struct):
    number: int


PACKED = EventType("parcel.packed", Packed)
_WRITE = text("INSERT INTO effects (source, key, number) VALUES (:source, :key, :number)")


async def until(condition: Callable[[], object], *, timeout_s: float = 60.0) -> None:
    """Wait until `condition()` is true, by polling; fail after `timeout_s` seconds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def write_effect(context: EventContext, number: int) -> None:
    """Write what the tests count."""
    values = {"source": context.source, "key": context.key, "number": number}
    await context.session.execute(_WRITE, values)


@on_event("depot", PACKED, attempts=5)
async def count_parcel(context: EventContext, event: Packed) -> None:
    """Handle an event of the service `depot`."""
    await write_effect(context, event.number)


@asynccontextmanager
async def connected(broker_url: str) -> AsyncGenerator[BrokerClient]:
    """Yield a client of a broker."""
    client = _client(MessagingSettings(broker_url=Secret(broker_url)))
    assert client is not None
    async with client.running():
        yield client


def outgoing(body: bytes, event_id: str = "") -> Outgoing:
    """Return an event to append; without an id, it has one of its own."""
    return Outgoing(event_id or token_hex(8), "k", body)


async def append(broker_url: str, *bodies: bytes, topic: str = "depot") -> None:
    """Append what another program might write."""
    async with connected(broker_url) as client:
        for body in bodies:
            await client.append(topic, [outgoing(body)])


def event(number: object, *, event_id: str = "1", **attributes: object) -> bytes:
    """Return an event of the service `depot`."""
    sent = {"specversion": "1.0", "id": event_id, "source": "/services/depot", "type": "parcel.packed"}
    return msgspec.json.encode({**sent, "partitionkey": "k", "data": {"number": number}, **attributes})


class Shop:
    """A running application with its events."""

    def __init__(
        self, app: Litestar, database: DatabasePlugin, messaging: MessagingPlugin, jobs: JobsPlugin
    ) -> None:
        self.app = app
        self.database = database
        self.messaging = messaging
        self.jobs = jobs

    async def publish(self, *numbers: int, key: str = "k") -> None:
        """Publish events in one unit of work."""
        async with self.database.session() as session:
            for number in numbers:
                await self.messaging.publish(session, PACKED, Packed(number), key=key)

    async def execute(self, statement: str) -> list[Any]:
        """Execute a statement and return its rows."""
        async with self.database.session() as session:
            result = await session.execute(text(statement))
            return list(result.all()) if result.returns_rows else []

    async def effects(self) -> list[int]:
        """Return the numbers of the handled events, in the order of their handling."""
        return [row.number for row in await self.execute("SELECT number FROM effects ORDER BY id")]

    async def until_published(self) -> None:
        """Wait until the relay has published all events."""
        async with asyncio.timeout(30):
            while await self.execute("SELECT 1 FROM outbox WHERE published_at IS NULL"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def until_done(self) -> None:
        """Wait until no job is queued or being executed."""
        async with asyncio.timeout(60):
            while await self.execute("SELECT 1 FROM jobs WHERE state IN ('queued', 'running')"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def until_handled(self, count: int) -> list[int]:
        """Wait until there are `count` effects, and return them."""
        async with asyncio.timeout(60):
            while len(effects := await self.effects()) < count:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)
        return effects


@asynccontextmanager
async def shop(
    url: str,
    broker: str,
    *,
    service: str = "depot",
    handlers: Sequence[Any] = (count_parcel,),
    works: bool = True,
    lease_s: float = 3.0,
    **settings: Any,
) -> AsyncGenerator[Shop]:
    """Run an application; its tables are created if necessary."""
    metadata = MetaData()
    # Rows are not stored in the order of their insertion.
    columns = [Column("source", String(50)), Column("key", String(64)), Column("number", Integer)]
    Table("effects", metadata, Column("id", Integer, primary_key=True), *columns)
    database = DatabasePlugin(
        DatabaseSettings(url=Secret(url), min_connections=0), metadata=metadata, migrations="shop.migrations"
    )
    jobs = JobsPlugin(JobSettings(heartbeat_s=1.0), jobs=[])
    outbox = OutboxPlugin(retention=timedelta(hours=1))
    messaging = MessagingPlugin(
        MessagingSettings(broker_url=Secret(broker), lease_s=lease_s, **settings),
        service=service,
        publishes=[PACKED],
        handlers=handlers,
    )
    jobs.enable_work(works)
    messaging.enable_work(works)
    app = Litestar([], plugins=[database, outbox, jobs, messaging])
    async with Litestar([], plugins=[database]).lifespan(), database.session() as session:
        connection = await session.connection()
        await connection.run_sync(metadata.create_all)
    async with app.lifespan():
        yield Shop(app, database, messaging, jobs)
