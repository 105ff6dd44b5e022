"""The outbox publishes after the commit, in order, and loses nothing."""

import asyncio
from contextlib import suppress
from typing import Any

import httpx2
import pytest
from litestar import post
from litestar.di import NamedDependency
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import OutboxPlugin
from starkeel_db._outbox import relay, subscriptions

from .conftest import until
from .outbox_process import Box, Shelf, boxes


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


async def test_an_unexpected_error_ends_no_background_task(
    database_url: str, monkeypatch: pytest.MonkeyPatch, logged: list[Any]
) -> None:
    failed: set[str] = set()

    def failing_once(name: str, original: Any) -> Any:
        async def call(*arguments: Any) -> Any:
            if name not in failed:
                failed.add(name)
                raise TypeError(f"mistake in {name}")
            return await original(*arguments)

        return call

    for module, name in ((subscriptions, "read_pages"), (relay.Relay, "_claim")):
        monkeypatch.setattr(module, name, failing_once(name, getattr(module, name)))
    monkeypatch.setattr("starkeel_db._retention._EVERY_S", 0.02)
    monkeypatch.setattr(
        OutboxPlugin, "delete_old_rows", failing_once("delete_old_rows", OutboxPlugin.delete_old_rows)
    )
    shelf = Shelf()
    async with boxes(database_url, broker=shelf) as [box], box.outbox.following("ada") as subscription:
        await until(lambda: len(failed) == 3)
        await box.add("ada", "1")
        assert (await asyncio.wait_for(subscription.next(), 20)).payload == "1"
        await until(lambda: bool(shelf.got))

    mistakes = [entry for entry in logged if isinstance(entry.get("exc_info"), TypeError)]
    assert {str(entry["exc_info"]) for entry in mistakes} >= {
        f"mistake in {name}" for name in ("read_pages", "_claim", "delete_old_rows")
    }
