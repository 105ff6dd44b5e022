"""The outbox publishes after the commit, in order, through one relay at a time, and loses nothing."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from litestar import Litestar, post
from litestar.di import NamedDependency
from sqlalchemy import MetaData, text
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_config import Secret
from starkeel_db import (
    Broker,
    BrokerAwayError,
    DatabasePlugin,
    DatabaseSettings,
    Event,
    OutboxPlugin,
)
from starkeel_db._outbox import relay

from .conftest import until

HOUR = timedelta(hours=1)


class Shelf:
    """A broker that stores events, and can be away or refuse some."""

    def __init__(self) -> None:
        self.got: list[Event] = []
        self.is_away = False
        self.refuses: set[str] = set()

    async def publish(self, event: Event) -> None:
        if self.is_away:
            raise BrokerAwayError("down")
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


async def test_a_subscriber_in_another_process_receives_events_in_order(database_url: str) -> None:
    async with boxes(database_url, 2) as [first, other], other.outbox.following("ada") as subscription:
        await first.add("bob", "0")
        await first.add("ada", "1", "2")
        await first.add("ada", "3")

        events = [await asyncio.wait_for(subscription.next(), 20) for _ in range(3)]

    assert [event.payload for event in events] == ["1", "2", "3"]
    assert [event.position for event in events] == sorted({event.position for event in events})


async def test_a_subscription_can_start_at_a_past_position(database_url: str) -> None:
    async with boxes(database_url) as [box]:
        async with box.outbox.following("ada") as subscription:
            await box.add("ada", "1")
            seen = (await asyncio.wait_for(subscription.next(), 20)).position
        await box.add("ada", "2", "3")
    async with boxes(database_url) as [box], box.outbox.following("ada", after=seen) as subscription:
        assert [(await asyncio.wait_for(subscription.next(), 20)).payload for _ in range(2)] == ["2", "3"]


async def test_an_event_of_a_rolled_back_transaction_is_not_published(database_url: str) -> None:
    shelf = Shelf()
    async with boxes(database_url, broker=shelf) as [box], box.outbox.following("ada") as subscription:
        with suppress(ZeroDivisionError):
            async with box.database.session() as session:
                await box.outbox.add(session, key="ada", kind="happened", payload="never")
                raise ZeroDivisionError
        await box.add("ada", "1")

        assert (await asyncio.wait_for(subscription.next(), 20)).payload == "1"
        await until(lambda: bool(shelf.got))
    assert [event.payload for event in shelf.got] == ["1"]


async def test_events_of_a_key_are_received_in_the_order_of_commits(postgres_url: str) -> None:
    """A writer waits for an earlier writer of the same key only."""
    async with boxes(postgres_url, 2) as [first, other], other.outbox.following("ada") as subscription:
        async with first.database.session() as slow:
            async with slow.begin_nested():
                await first.outbox.add(slow, key="ada", kind="happened", payload="first")
            async with asyncio.TaskGroup() as tasks:
                later = tasks.create_task(other.add("ada", "second"))
                await other.add("bob", "not held up")
                assert not later.done()
                await slow.commit()
        events = [await asyncio.wait_for(subscription.next(), 20) for _ in range(2)]

    assert [event.payload for event in events] == ["first", "second"]


async def test_an_open_transaction_with_a_pending_event_blocks_no_other_writer(postgres_url: str) -> None:
    async with boxes(postgres_url, 2) as [first, other], other.outbox.following("ada") as subscription:
        async with first.database.session() as slow:
            await slow.execute(text("SELECT 1"))
            await first.outbox.add(slow, key="ada", kind="happened", payload="last")
            await asyncio.wait_for(other.add("ada", "first"), 20)
        events = [await asyncio.wait_for(subscription.next(), 20) for _ in range(2)]

    assert [event.payload for event in events] == ["first", "last"]


async def test_transactions_with_the_same_keys_in_another_order_do_not_deadlock(postgres_url: str) -> None:
    async def add(box: Box, *keys: str) -> None:
        async with box.database.session() as session:
            for key in keys:
                await box.outbox.add(session, key=key, kind="happened", payload=key)

    async with boxes(postgres_url, 2) as [first, other], asyncio.timeout(60):
        for _ in range(20):
            await asyncio.gather(add(first, "ada", "bob"), add(other, "bob", "ada"))

        assert await first.execute("SELECT count(*) FROM outbox") == [(80,)]


async def test_an_event_of_a_rolled_back_savepoint_is_not_published(database_url: str) -> None:
    async with boxes(database_url) as [box], box.outbox.following("ada") as subscription:
        async with box.database.session() as session:
            await box.outbox.add(session, key="ada", kind="happened", payload="before")
            with suppress(ZeroDivisionError):
                async with session.begin_nested():
                    await box.outbox.add(session, key="ada", kind="happened", payload="never")
                    raise ZeroDivisionError
            async with session.begin_nested():
                pass
            with suppress(ZeroDivisionError):
                async with session.begin_nested():
                    async with session.begin_nested():
                        pass
                    raise ZeroDivisionError
        await box.add("ada", "after")

        payloads = [(await asyncio.wait_for(subscription.next(), 20)).payload for _ in range(2)]

    assert payloads == ["before", "after"]


async def test_a_unit_of_work_with_only_an_event_is_committed(database_url: str) -> None:
    @post("/")
    async def add(session: NamedDependency[AsyncSession], outbox: NamedDependency[OutboxPlugin]) -> None:
        await outbox.add(session, key="ada", kind="happened", payload="1")

    async with boxes(database_url, handlers=[add]) as [box]:
        transport = httpx2.ASGITransport(box.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://box") as client:
            assert (await client.post("/")).status_code == 201
        assert await box.execute("SELECT payload FROM outbox") == [("1",)]


async def test_several_relays_publish_nothing_twice(database_url: str) -> None:
    shelf = Shelf()
    async with boxes(database_url, 3, broker=shelf) as processes:
        for number in range(10):
            for box in processes:
                await box.add(f"key {number % 3}", str(number))
        await until(lambda: len(shelf.got) >= 30)

    positions = [event.position for event in shelf.got]
    assert len(positions) == len(set(positions)) == 30
    for key in ("key 0", "key 1", "key 2"):
        mine = [event.position for event in shelf.got if event.key == key]
        assert mine == sorted(mine)


async def test_a_broker_that_was_away_receives_all_events_later(database_url: str) -> None:
    shelf = Shelf()
    shelf.is_away = True
    async with boxes(database_url, broker=shelf) as [box]:
        await box.add("ada", "1", "2")
    assert shelf.got == []
    shelf.is_away = False
    async with boxes(database_url, broker=shelf) as [box]:
        await until(lambda: len(shelf.got) == 2)

    assert [event.payload for event in shelf.got] == ["1", "2"]


async def test_a_refused_event_blocks_its_key_only_and_becomes_a_dead_letter(database_url: str) -> None:
    shelf = Shelf()
    shelf.refuses.add("bad")
    async with boxes(database_url, broker=shelf) as [box]:
        await box.add("ada", "bad", "after")
        await box.add("bob", "other")
        await until(lambda: [event.payload for event in shelf.got] == ["other"])
        # Skip nine attempts, whose pauses grow.
        await box.execute("UPDATE outbox SET attempts = 9, retry_at = NULL WHERE payload = 'bad'")
        await until(lambda: len(shelf.got) == 2)

        assert [event.payload for event in shelf.got] == ["other", "after"]
        [(attempts,)] = await box.execute("SELECT attempts FROM outbox WHERE dead_at IS NOT NULL")
        assert attempts == 10


async def test_nothing_is_locked_while_the_broker_does_not_answer(database_url: str) -> None:
    broker = _Hanging()
    async with boxes(database_url, 2, broker=broker) as [first, other]:
        await first.add("ada", "1")
        await asyncio.wait_for(broker.was_called.wait(), 20)
        for box in (first, other):
            # SQLite has one writer at a time; PostgreSQL would show the relay's transaction.
            await asyncio.wait_for(box.add("bob", "2"), 1)
        if database_url.startswith("postgresql"):
            idle = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'"
            assert await first.execute(idle) == [(0,)]


async def test_claims_of_a_relay_that_died_expire(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_CLAIM_S", 1.0)
    async with boxes(database_url) as [box]:
        await box.add("ada", "1", "2")
        # As a relay leaves it that is killed while it publishes.
        await box.execute(f"UPDATE outbox SET retry_at = '{datetime.now(UTC) + timedelta(seconds=1)}'")
    shelf = Shelf()
    async with boxes(database_url, broker=shelf):
        await until(lambda: len(shelf.got) == 2)
    assert [event.payload for event in shelf.got] == ["1", "2"]


class _Hanging(Shelf):
    """A broker that accepts a connection and never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.was_called = asyncio.Event()

    async def publish(self, event: Event) -> None:
        self.was_called.set()
        await asyncio.Event().wait()


async def test_old_events_are_deleted_unless_the_broker_lacks_them(database_url: str) -> None:
    shelf = Shelf()
    async with boxes(database_url, broker=shelf) as [box]:
        await box.add("ada", "1", "2")
        await until(lambda: len(shelf.got) == 2)
        shelf.is_away = True
        await box.add("ada", "3")
        await box.execute("UPDATE outbox SET created_at = '2020-01-01 00:00:00+00:00'")

        assert await box.outbox.forget_old() == 2
        assert await box.execute("SELECT payload FROM outbox") == [("3",)]
