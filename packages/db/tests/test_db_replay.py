"""Past events are replayed in turns, a page at a time, and never delay new events of other subscribers."""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from starkeel_db import Event, Subscription
from starkeel_db._outbox.reading import read_pages

from .outbox_process import Box, boxes

FEW, MANY = 250, 3000
PAGE, MAX_ROWS, MAX_REPLAYS = 100, 1000, 4


async def fill(box: Box, key: str, count: int) -> None:
    """Add events at once, as many transactions have done."""
    numbers = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
    await box.execute(
        "INSERT INTO outbox (key, kind, payload, created_at)"
        f" {numbers} SELECT '{key}', 'happened', CAST(i AS text), CURRENT_TIMESTAMP FROM n"
    )


class Reader:
    """Takes the events of a subscription, as a stream does."""

    def __init__(self, log: list[tuple[str, int]], name: str, key: str, after: int | None) -> None:
        self.log = log
        self.name = name
        self.key = key
        self.after = after
        self.events: list[Event] = []
        self.is_subscribed = asyncio.Event()

    async def read(self, box: Box, count: int) -> None:
        async with box.outbox.following(self.key, after=self.after) as subscription:
            self.is_subscribed.set()
            for number in range(count):
                self.events.append(await subscription.next())
                self.log.append((self.name, number))


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of events that each query has returned."""
    counts: list[int] = []

    async def count(*arguments: Any) -> list[list[Event]]:
        pages = await read_pages(*arguments)
        counts.append(sum(map(len, pages)))
        return pages

    monkeypatch.setattr("starkeel_db._outbox.subscriptions.read_pages", count)
    return counts


@pytest.fixture
def without_slow_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not make the readers of a test slow ones, whose turns end."""
    monkeypatch.setattr("starkeel_db._outbox.replays._HELD_S", math.inf)


async def test_a_replay_is_complete_and_in_order(database_url: str) -> None:
    async with boxes(database_url) as [box]:
        await fill(box, "ada", FEW)
        reader = Reader([], "ada", "ada", 0)
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            tasks.create_task(reader.read(box, FEW + 2))
            await box.add("ada", "new")
            await asyncio.wait_for(reader.is_subscribed.wait(), 30)
            await box.add("ada", "newer")

    payloads = [str(number) for number in range(1, FEW + 1)]
    assert [each.payload for each in reader.events] == [*payloads, "new", "newer"]


async def test_a_new_event_is_received_before_a_long_replay_ends(database_url: str) -> None:
    log: list[tuple[str, int]] = []
    async with boxes(database_url) as [box]:
        await fill(box, "ada", MANY)
        replays = [Reader(log, f"ada {number}", "ada", 0) for number in range(12)]
        bob = Reader(log, "bob", "bob", None)
        async with asyncio.timeout(90), asyncio.TaskGroup() as tasks:
            tasks.create_task(bob.read(box, 1))
            await bob.is_subscribed.wait()
            for reader in replays:
                tasks.create_task(reader.read(box, MANY))
            await asyncio.gather(*(reader.is_subscribed.wait() for reader in replays))
            await box.add("bob", "1")

    assert all(len(reader.events) == MANY for reader in replays)
    ends = [log.index((reader.name, MANY - 1)) for reader in replays]
    assert log.index(("bob", 0)) < min(ends)


@pytest.mark.usefixtures("without_slow_readers")
async def test_a_short_replay_does_not_wait_for_the_long_ones_of_another_key(database_url: str) -> None:
    log: list[tuple[str, int]] = []
    async with boxes(database_url) as [box]:
        await fill(box, "ada", MANY)
        await fill(box, "bob", FEW)
        replays = [Reader(log, f"ada {number}", "ada", 0) for number in range(12)]
        bob = Reader(log, "bob", "bob", 0)
        async with asyncio.timeout(90), asyncio.TaskGroup() as tasks:
            for reader in replays:
                tasks.create_task(reader.read(box, MANY))
            await asyncio.gather(*(reader.is_subscribed.wait() for reader in replays))
            tasks.create_task(bob.read(box, FEW))

    before = Counter(name for name, _ in log[: log.index(("bob", FEW - 1))])
    # A turn of each key is a page of one of its subscriptions; three others may have one meanwhile.
    pages = -(-FEW // PAGE)
    assert sum(before.values()) - before["bob"] <= (pages + 2) * MAX_REPLAYS * PAGE


@pytest.mark.usefixtures("without_slow_readers")
async def test_queries_and_concurrent_replays_are_bounded(database_url: str, rows: list[int]) -> None:
    async with boxes(database_url) as [box], AsyncExitStack() as stack:
        await fill(box, "ada", MANY)
        subscriptions: list[Subscription] = []
        for _ in range(20):
            subscribed = box.outbox.following("ada", after=0)
            subscriptions.append(await stack.enter_async_context(subscribed))
        most = 0
        async for _ in _taking(subscriptions, 200):
            most = max(most, sum(bool(each.queued) for each in subscriptions))

    assert 0 < most <= MAX_REPLAYS
    assert PAGE <= max(rows) <= MAX_REPLAYS * PAGE


async def _taking(subscriptions: list[Subscription], count: int) -> AsyncGenerator[None]:
    """Take events of all subscriptions, as they come, and yield after each."""
    left = Counter(dict.fromkeys(range(len(subscriptions)), count))
    async with asyncio.timeout(60):
        while left.total():
            for number, subscription in enumerate(subscriptions):
                if left[number] and subscription.queued:
                    await subscription.next()
                    left[number] -= 1
            yield
            await asyncio.sleep(0)


async def test_the_new_events_of_many_keys_are_read_in_bounded_queries(
    database_url: str, rows: list[int]
) -> None:
    """No key is left out for ever: those that a query has cut off come first in the next one."""
    keys = [f"key {number}" for number in range(30)]
    async with boxes(database_url) as [box], AsyncExitStack() as stack:
        subscriptions = [await stack.enter_async_context(box.outbox.following(key)) for key in keys]
        for key in keys:
            await fill(box, key, FEW)
        received = await asyncio.wait_for(asyncio.gather(*map(_all, subscriptions)), 60)

    assert received == [[str(number) for number in range(1, FEW + 1)]] * len(keys)
    assert PAGE < max(rows) <= MAX_ROWS


async def _all(subscription: Subscription) -> list[str]:
    return [(await subscription.next()).payload for _ in range(FEW)]


@pytest.mark.parametrize("is_read", [True, False])
async def test_a_slow_subscriber_uses_bounded_memory_and_delays_no_other_one(
    database_url: str, is_read: bool
) -> None:
    async with boxes(database_url) as [box], AsyncExitStack() as stack:
        slow = await stack.enter_async_context(box.outbox.following("ada", after=None))
        fast = await stack.enter_async_context(box.outbox.following("ada", after=None))
        await fill(box, "ada", MANY)
        async with asyncio.timeout(60):
            received = [(await fast.next()).payload for _ in range(MANY)]

        assert received == [str(number) for number in range(1, MANY + 1)]
        assert slow.queued < 500 + PAGE
        if is_read:
            async with asyncio.timeout(60):
                assert [(await slow.next()).payload for _ in range(MANY)] == received


async def test_subscribers_that_do_not_read_keep_no_turn(database_url: str) -> None:
    async with boxes(database_url) as [box], AsyncExitStack() as stack:
        await fill(box, "ada", FEW)
        for _ in range(2 * MAX_REPLAYS):
            await stack.enter_async_context(box.outbox.following("ada", after=0))
        reader = Reader([], "ada", "ada", 0)

        await asyncio.wait_for(reader.read(box, FEW), 60)

    assert len(reader.events) == FEW
