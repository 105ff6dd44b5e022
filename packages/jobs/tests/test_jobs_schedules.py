"""Schedules: times, time zones, and one run for all processes."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starkeel_db import OutboxPlugin
from starkeel_jobs import JobContext, schedule
from starkeel_jobs._scheduler import Scheduler
from starkeel_jobs._wakeup import Wakeup

from .jobs_shop import Open, Shop


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@schedule("30 2 * * *", timezone="Europe/Berlin")
async def nightly(_: JobContext) -> None: ...


def scheduler(shop: Shop) -> Scheduler:
    return Scheduler(shop.database, shop.jobs._queue, [nightly], Wakeup())


@pytest.mark.parametrize(
    ("now", "latest", "following"),
    [
        # Winter and summer time.
        ("2026-01-10 12:00", "2026-01-10 01:30", "2026-01-11 01:30"),
        ("2026-07-10 12:00", "2026-07-10 00:30", "2026-07-11 00:30"),
        ("2026-01-10 01:30", "2026-01-10 01:30", "2026-01-11 01:30"),
        # 02:30 does not exist on 29 March: the run is right after the missing hour.
        ("2026-03-29 00:59", "2026-03-28 01:30", "2026-03-29 01:00"),
        ("2026-03-29 01:00", "2026-03-29 01:00", "2026-03-30 00:30"),
        # 02:30 exists twice on 25 October: one run.
        ("2026-10-25 00:29", "2026-10-24 00:30", "2026-10-25 00:30"),
        ("2026-10-25 02:00", "2026-10-25 00:30", "2026-10-26 01:30"),
    ],
)
def test_times_in_a_time_zone(now: str, latest: str, following: str) -> None:
    assert (nightly.latest(at(now)), nightly.following(at(now))) == (at(latest), at(following))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("61 * * * *",), "Bad minute"),
        (("* * * *",), "has 4 fields instead of 5"),
        (("* * * * * *",), "has 6 fields instead of 5"),
    ],
)
def test_invalid_expressions_are_refused(arguments: tuple[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        schedule(*arguments)


def test_unknown_time_zones_are_refused() -> None:
    with pytest.raises(ValueError, match="'Mars/Olympus' is not an IANA time zone"):
        schedule("* * * * *", timezone="Mars/Olympus")


def test_a_scheduled_function_has_no_arguments() -> None:
    async def purge(_: JobContext, *, days: int) -> None: ...

    with pytest.raises(TypeError, match="has parameters besides the JobContext"):
        schedule("* * * * *")(purge)  # type: ignore[arg-type]


async def test_each_run_is_enqueued_once_whatever_the_clocks(open_shop: Open, database_url: str) -> None:
    async with AsyncExitStack() as stack:
        shops = [
            await stack.enter_async_context(open_shop(database_url, [nightly], works=False)) for _ in range(3)
        ]
        schedulers = [scheduler(each) for each in shops]
        due = at("2026-01-10 01:30")
        # A new schedule begins with its next run.
        assert not await schedulers[0].check(nightly, due - timedelta(hours=1))
        for second in range(-3, 4):
            # Their clocks are two seconds apart.
            now = due + timedelta(seconds=second)
            await asyncio.gather(
                *(each.check(nightly, now + timedelta(seconds=2 * n)) for n, each in enumerate(schedulers))
            )
        # A clock that is set back does not repeat a run.
        assert not await schedulers[1].check(nightly, due - timedelta(minutes=5))
        assert not await schedulers[1].check(nightly, due + timedelta(minutes=5))
        assert [record.name for record in await shops[0].jobs.records()] == ["nightly"]


async def test_of_missed_runs_the_last_is_made_up_for(open_shop: Open, database_url: str) -> None:
    async with open_shop(database_url, [nightly], works=False) as shop:
        assert not await scheduler(shop).check(nightly, at("2026-01-10 12:00"))
        # Three days without a process.
        assert await scheduler(shop).check(nightly, at("2026-01-13 02:00"))
        assert len(await shop.jobs.records()) == 1


async def test_a_run_that_was_missed_for_too_long_is_left_out(
    open_shop: Open, database_url: str, logged: list[Any]
) -> None:
    async with open_shop(database_url, [nightly], works=False) as shop:
        assert not await scheduler(shop).check(nightly, at("2026-01-10 12:00"))
        assert not await scheduler(shop).check(nightly, at("2026-01-13 12:00"))
        assert not await scheduler(shop).check(nightly, at("2026-01-13 12:01"))
        assert await shop.jobs.records() == []
    assert [entry["due_at"] for entry in logged if entry["event"] == "scheduled run left out"] == [
        "2026-01-13T01:30:00+00:00"
    ]


async def test_a_running_application_executes_its_schedules(open_shop: Open, database_url: str) -> None:
    runs = []

    @schedule("* * * * *")
    async def often(_: JobContext) -> None:
        runs.append(True)

    async with open_shop(database_url, [often]) as shop:
        async with asyncio.timeout(30):
            # Not that of the deletion of old rows, which may be recorded first.
            recorded = "SELECT 1 FROM job_schedules WHERE name = 'often'"
            while not await shop.execute(recorded):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.02)
        # As if the last run was long ago.
        await shop.execute("UPDATE job_schedules SET last_due = '2020-01-01 00:00:00+00'")
    async with open_shop(database_url, [often]) as shop:
        async with asyncio.timeout(30):
            while not runs:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.02)
    assert runs


async def test_old_rows_of_all_plugins_are_deleted_by_the_schedule_only(
    open_shop: Open, database_url: str, monkeypatch: pytest.MonkeyPatch, logged: list[Any]
) -> None:
    # Without the schedule each process would do so every few milliseconds.
    monkeypatch.setattr("starkeel_db._retention._EVERY_S", 0.01)
    outbox = OutboxPlugin(retention=timedelta(0))
    async with open_shop(database_url, [], plugins=[outbox]) as shop:
        for number in range(3):
            async with shop.database.session() as session:
                await outbox.add(session, key="ada", kind=f"{number}", payload="{}")
        assert len(await shop.execute("SELECT position FROM outbox")) == 3
        await shop.enqueue(shop.jobs.known_jobs["delete_old_rows"])
        await shop.until_done()
        assert await shop.execute("SELECT position FROM outbox") == []

    deleted = {entry["plugin"]: entry["rows"] for entry in logged if entry["event"] == "old rows deleted"}
    assert deleted == {"OutboxPlugin": 3, "JobsPlugin": 0}
