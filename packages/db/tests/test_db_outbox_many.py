"""Thousands of subscriptions: an event is read for those of its key, and none is lost."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import text
from starkeel_db import Event, Subscription
from starkeel_db._outbox.reading import read_pages

from .outbox_process import Box, boxes

MANY = 700


@asynccontextmanager
async def followed(box: Box, count: int) -> AsyncGenerator[list[Subscription]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(box.outbox.following(f"key {n}")) for n in range(count)]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Keys of each query for events."""
    found: list[list[str]] = []

    async def record(database: Any, starts: Any) -> list[list[Event]]:
        found.append([key for key, _ in starts])
        return await read_pages(database, starts)

    monkeypatch.setattr("starkeel_db._outbox.subscriptions.read_pages", record)
    return found


async def next_of(subscription: Subscription) -> str:
    return (await asyncio.wait_for(subscription.next(), 30)).payload


async def test_an_event_of_this_process_is_read_for_its_key_alone(
    database_url: str, reads: list[list[str]]
) -> None:
    async with boxes(database_url) as [box], followed(box, MANY) as subscriptions:
        for number in (3, 600, 3):
            await box.add(f"key {number}", str(number))
            assert await next_of(subscriptions[number]) == str(number)

    assert ["key 3"] in reads
    assert ["key 600"] in reads
    assert max(map(len, reads)) <= 256


async def test_events_of_another_process_arrive_at_many_subscriptions(database_url: str) -> None:
    async with boxes(database_url, 2) as [box, other], followed(box, MANY) as subscriptions:
        for number in (0, 300, MANY - 1, 300):
            await other.add(f"key {number}", str(number))
            assert await next_of(subscriptions[number]) == str(number)


async def test_an_event_that_becomes_visible_late_arrives_at_many_subscriptions(postgres_url: str) -> None:
    insert = text(
        "INSERT INTO outbox (key, kind, payload, created_at)"
        " VALUES (:key, 'happened', :payload, CURRENT_TIMESTAMP)"
    )
    async with boxes(postgres_url, 2) as [box, other], followed(box, MANY) as subscriptions:
        async with other.database.session() as late:
            await late.execute(insert, {"key": "key 650", "payload": "late"})
            # Longer than the overlap: later events are delivered, and their positions passed.
            for number in range(25):
                await other.add("key 7", str(number))
                assert await next_of(subscriptions[7]) == str(number)
                await asyncio.sleep(0.1)

        assert await next_of(subscriptions[650]) == "late"


async def test_events_of_many_keys_at_once_all_arrive_in_order(database_url: str) -> None:
    async with boxes(database_url, 2) as [box, other], followed(box, MANY) as subscriptions:
        for number in range(3):
            async with other.database.session() as session:
                for key in range(MANY):
                    await other.outbox.add(session, key=f"key {key}", kind="happened", payload=str(number))
        for subscription in subscriptions:
            assert [await next_of(subscription) for _ in range(3)] == ["0", "1", "2"]
