"""Jobs that share a unit of work."""

import asyncio
from typing import Any

from sqlalchemy import text
from starkeel_jobs import JobContext, JobRequest, job

from .jobs_shop import Open, until
from .test_jobs_queue import SOON, notes

_NOTE = text("INSERT INTO effects VALUES (:job_id, :note)")


async def enqueue_all(shop: Any, each: Any, names: list[str]) -> None:
    async with shop.database.session() as session:
        await shop.jobs.enqueue_all(session, [JobRequest(each, {"what": name}) for name in names])


async def test_jobs_that_are_due_together_share_a_unit_of_work(open_shop: Open, database_url: str) -> None:
    sessions: dict[int, list[str]] = {}

    @job(batch=4)
    async def note(context: JobContext, *, what: str) -> None:
        sessions.setdefault(id(context.session), []).append(what)
        kept.append(context.session)
        await context.session.execute(_NOTE, {"job_id": context.job_id, "note": what})

    kept: list[Any] = []
    names = [f"note {number}" for number in range(8)]
    async with open_shop(database_url, [note], works=False) as shop:
        await enqueue_all(shop, note, names)
    async with open_shop(database_url, [note], concurrency=8) as shop:
        await shop.until_done()
        records = await shop.jobs.records()
        assert {(record.state, record.attempts) for record in records} == {("succeeded", 1)}
        assert await notes(shop) == names
    assert sorted(sessions.values()) == [names[:4], names[4:]]


async def test_one_that_fails_is_rolled_back_without_the_others(
    open_shop: Open, database_url: str, logged: list[Any]
) -> None:
    @job(batch=100, attempts=2, backoff=SOON, timeout_s=1)
    async def note(context: JobContext, *, what: str) -> None:
        if what == "slow":
            await asyncio.sleep(60)
        await context.session.execute(_NOTE, {"job_id": context.job_id, "note": what})
        if what == "bad":
            raise ValueError

    names = ["a", "b", "bad", "c", "slow", "d"]
    async with open_shop(database_url, [note], works=False) as shop:
        await enqueue_all(shop, note, names)
    async with open_shop(database_url, [note]) as shop:
        await shop.until_done()
        assert await notes(shop) == ["a", "b", "c", "d"]
        failed = await shop.jobs.records(state="failed")
        assert sorted((record.error or "").partition("\n")[0] for record in failed) == [
            "builtins.ValueError",
            "timed out after 1 s",
        ]
        assert {record.attempts for record in failed} == {2}
    succeeded = [entry["job_id"] for entry in logged if entry["event"] == "job succeeded"]
    assert len(succeeded) == len(set(succeeded)) == 4


async def test_those_that_a_stop_interrupts_are_given_back_together(
    open_shop: Open, database_url: str
) -> None:
    began: list[str] = []

    @job(batch=100)
    async def note(context: JobContext, *, what: str) -> None:
        await context.session.execute(_NOTE, {"job_id": context.job_id, "note": what})
        began.append(what)
        if what == "b":
            await asyncio.sleep(60)

    async with open_shop(database_url, [note], works=False) as shop:
        await enqueue_all(shop, note, ["a", "b", "c"])
    async with open_shop(database_url, [note]) as shop:
        await until(lambda: began == ["a", "b"])
    async with open_shop(database_url, [note], works=False) as shop:
        assert await notes(shop) == []
        records = await shop.jobs.records()
        assert {(record.state, record.attempts) for record in records} == {("queued", 0)}


async def test_those_that_another_process_has_taken_over_take_effect_once(
    open_shop: Open, database_url: str
) -> None:
    may_end, began = asyncio.Event(), []

    @job(batch=100)
    async def note(context: JobContext, *, what: str) -> None:
        began.append(what)
        if len(began) == 1:
            await may_end.wait()
        await context.session.execute(_NOTE, {"job_id": context.job_id, "note": what})

    async with open_shop(database_url, [note], works=False) as shop:
        await enqueue_all(shop, note, ["a", "b", "c"])
    async with open_shop(database_url, [note]) as shop:
        await until(lambda: began)
        # As if the process had been silent for a while.
        await shop.execute("UPDATE jobs SET worker = 'another one' WHERE id = 2 OR id = 1")
        may_end.set()
        await until(lambda: "c" in began)
        await shop.execute("UPDATE jobs SET state = 'queued' WHERE worker = 'another one'")
        await shop.until_done()
        assert await notes(shop) == ["a", "b", "c"]
