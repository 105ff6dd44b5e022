"""A subscriber whose last event is older than what is stored is informed of the gap."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from starkeel_db import GAP, Event, OutboxPlugin

from .outbox_process import Box, boxes


async def age(box: Box, *payloads: str, minutes: int = 600) -> None:
    """Make events as old as that; the retention is an hour."""
    created_at = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat(sep=" ")
    for payload in payloads:
        await box.execute(f"UPDATE outbox SET created_at = '{created_at}' WHERE payload = '{payload}'")


async def positions(box: Box) -> dict[str, int]:
    return dict(await box.execute("SELECT payload, position FROM outbox"))


async def received(box: Box, count: int, *, after: int, key: str = "ada") -> list[Event]:
    async with box.outbox.following(key, after=after) as subscription:
        return [await asyncio.wait_for(subscription.next(), 20) for _ in range(count)]


async def test_deleted_events_are_reported_before_those_that_are_stored(database_url: str) -> None:
    async with boxes(database_url) as [box]:
        await box.add("ada", "1", "2", "3")
        at = await positions(box)
        await age(box, "1", "2")
        assert await box.outbox.delete_old_rows() == 2

        gap, event = await received(box, 2, after=at["1"])

        assert (gap.kind, gap.key, json.loads(gap.payload)) == (GAP, "ada", {"last_event_id": str(at["1"])})
        assert at["1"] < gap.position < event.position
        assert event.payload == "3"
        # A client that was cut after the gap.
        assert [each.payload for each in await received(box, 1, after=gap.position)] == ["3"]


async def test_there_is_no_gap_while_the_last_event_is_stored_or_nothing_after_it_was_deleted(
    database_url: str,
) -> None:
    async with boxes(database_url) as [box]:
        await box.add("ada", "1", "2")
        await box.add("bob", "3")
        await box.add("ada", "4")
        at = await positions(box)
        await age(box, "1", "2")
        await box.outbox.delete_old_rows()

        # The last deleted one; that of another key; its own; all that are stored.
        for after in (at["2"], at["3"], 0):
            assert [each.payload for each in await received(box, 1, after=after)] == ["4"]
        await box.add("ada", "5")
        assert [each.payload for each in await received(box, 1, after=at["4"])] == ["5"]


async def test_a_client_without_new_events_can_resume_after_the_gap(database_url: str) -> None:
    async with boxes(database_url) as [box]:
        await box.add("ada", "1")
        await box.add("bob", "2", "3", "4")
        at = await positions(box)
        await age(box, "1", "2")
        await age(box, "3", minutes=45)
        await box.outbox.delete_old_rows()

        [gap] = await received(box, 1, after=at["1"])
        # Half of the retention has not passed for the following ones, whose transactions may be open.
        assert (gap.kind, gap.position) == (GAP, at["3"])
        async with box.outbox.following("ada", after=gap.position) as subscription:
            await box.add("ada", "5")
            assert (await asyncio.wait_for(subscription.next(), 20)).payload == "5"


async def test_an_empty_table_has_a_gap(database_url: str) -> None:
    async with boxes(database_url) as [box]:
        await box.add("ada", "1")
        at = await positions(box)
        await age(box, "1")
        await box.outbox.delete_old_rows()

        async with box.outbox.following("ada", after=at["1"]) as subscription:
            gap = await asyncio.wait_for(subscription.next(), 20)
            await box.add("ada", "2")
            event = await asyncio.wait_for(subscription.next(), 20)

    assert (gap.kind, gap.position, event.payload) == (GAP, at["1"], "2")


async def test_old_rows_are_deleted_in_their_order(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("starkeel_db._retention._DELETED_AT_ONCE", 1)
    async with boxes(database_url) as [box]:
        await box.add("ada", "1", "2", "3")
        # Rows that are updated move to the end of a table of PostgreSQL.
        await age(box, "3", "2", "1")
        left = []
        while await OutboxPlugin.delete_old_rows(box.outbox):
            left.append(sorted(await positions(box)))

    assert left == [["2", "3"], ["3"], []]
