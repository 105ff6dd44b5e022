"""The relay publishes everything, in order for each key, and holds nothing while it waits."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog
from starkeel_db import (
    Event,
)
from starkeel_db._outbox import relay

from .conftest import until
from .outbox_process import Shelf, boxes


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
    shelf.is_unavailable = True
    async with boxes(database_url, broker=shelf) as [box]:
        await box.add("ada", "1", "2")
    assert shelf.got == []
    shelf.is_unavailable = False
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
            idle = (
                "SELECT pid FROM pg_stat_activity"
                " WHERE datname = current_database() AND state = 'idle in transaction'"
            )
            # Within less than the time that the relay waits for the broker.
            async with asyncio.timeout(1):
                while await first.execute(idle):
                    continue


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
        shelf.is_unavailable = True
        await box.add("ada", "3")
        await box.execute("UPDATE outbox SET created_at = '2020-01-01 00:00:00+00:00'")

        assert await box.outbox.delete_old_rows() == 2
        assert await box.execute("SELECT payload FROM outbox") == [("3",)]


async def test_a_relay_logs_that_it_publishes_again_when_it_does(
    database_url: str, monkeypatch: pytest.MonkeyPatch, logged: list[Any]
) -> None:
    """After a round that was cut off, its events are claimed: the next rounds publish nothing."""
    monkeypatch.setattr(relay, "_CLAIM_S", 0.5)
    rounds = 0
    claim = relay.Relay._claim

    async def counted(self: relay.Relay) -> list[Event]:
        nonlocal rounds
        rounds += 1
        return await claim(self)

    monkeypatch.setattr(relay.Relay, "_claim", counted)
    shelf = _HangingOnce()
    async with boxes(database_url, broker=shelf) as [box]:
        await box.add("ada", "1")
        await asyncio.wait_for(shelf.was_called.wait(), 20)
        await box.execute(f"UPDATE outbox SET retry_at = '{datetime.now(UTC) + timedelta(hours=1)}'")
        await until(lambda: "events not published" in shelf.order(logged))
        before = rounds
        await until(lambda: rounds >= before + 3)
        await box.execute("UPDATE outbox SET retry_at = NULL")
        await until(lambda: "events published again" in shelf.order(logged))

    order = shelf.order(logged)
    assert order.count("events not published") == 1
    assert order.count("events published again") == 1
    assert order.index("published") < order.index("events published again")


class _HangingOnce(Shelf):
    """A broker whose first call outlasts the round, and which notes when it accepts an event."""

    def __init__(self) -> None:
        super().__init__()
        self.was_called = asyncio.Event()
        self._log = structlog.get_logger("broker")

    async def publish(self, event: Event) -> None:
        if not self.was_called.is_set():
            self.was_called.set()
            await asyncio.Event().wait()
        self._log.info("published")
        await super().publish(event)

    @staticmethod
    def order(logged: list[Any]) -> list[str]:
        return [entry["event"] for entry in logged]
