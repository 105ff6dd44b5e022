"""Jobs that are enqueued together, with ordering keys, and claimed ahead."""

import asyncio
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from starkeel_jobs import JobContext, JobRequest, job

from .jobs_shop import Open, until
from .test_jobs_queue import SOON, note, notes, until_state


async def test_many_jobs_are_enqueued_at_once(open_shop: Open, database_url: str) -> None:
    unique = note.with_options(unique_for=timedelta(hours=1))
    async with open_shop(database_url, [note], works=False) as shop:
        before = await shop.enqueue(unique, what="b")
        async with shop.database.session() as session:
            found = await shop.jobs.enqueue_all(
                session,
                [
                    JobRequest(note, {"what": "a"}),
                    JobRequest(unique, {"what": "b"}),
                    JobRequest(unique, {"what": "c"}),
                    JobRequest(unique, {"what": "c"}),
                    JobRequest(note, {"what": "a"}),
                ],
            )
        first, same, third, again, last = found
        assert (same, again) == (None, None)
        # In the given order.
        assert before is not None
        assert first is not None
        assert third is not None
        assert last is not None
        assert before < first < third < last
        assert await shop.jobs.enqueue_all(session, []) == []
        assert await shop.jobs.run_due() == 4
        assert await notes(shop) == ["a", "a", "b", "c"]


async def test_jobs_with_one_ordering_key_execute_one_after_another(
    open_shop: Open, database_url: str
) -> None:
    executing: set[str] = set()
    ended: list[tuple[str, int]] = []
    failures = {("a", 3): 2, ("b", 1): 9}

    @job(attempts=3, backoff=SOON)
    async def step(_: JobContext, *, key: str, number: int) -> None:
        assert key not in executing
        executing.add(key)
        await asyncio.sleep(0.005)
        executing.remove(key)
        if failures.get((key, number), 0) > 0:
            failures[key, number] -= 1
            raise ValueError
        ended.append((key, number))

    keys = ["a", "b", "c"]
    async with open_shop(database_url, [step]) as first, open_shop(database_url, [step]):
        async with first.database.session() as session:
            await first.jobs.enqueue_all(
                session,
                [
                    # The priority counts among keys, not within one.
                    JobRequest(
                        step.with_options(ordering_key=key, priority=number), {"key": key, "number": number}
                    )
                    for number in range(6)
                    for key in keys
                ],
            )
        await first.until_done()
        states = {each.state for each in await first.jobs.records()}
    of_key = {key: [number for own, number in ended if own == key] for key in keys}
    assert of_key == {"a": list(range(6)), "b": [0, 2, 3, 4, 5], "c": list(range(6))}
    assert states == {"succeeded", "failed"}


async def test_jobs_that_a_busy_process_has_claimed_are_given_back(
    open_shop: Open, database_url: str
) -> None:
    may_end, done = asyncio.Event(), []

    @job()
    async def step(_: JobContext, *, what: str) -> None:
        if what == "long":
            await may_end.wait()
        done.append(what)

    async with open_shop(database_url, [step], concurrency=1) as shop:
        # The process learns that these jobs are short.
        await enqueue_steps(shop, step, ["first"] * 100)
        await shop.until_done()
        await enqueue_steps(shop, step, ["long", *(["short"] * 5)])
        await until_state(shop, "step", "running")
        async with open_shop(database_url, [step], concurrency=1):
            await until(lambda: done.count("short") == 5)
            assert "long" not in done
            may_end.set()
            await shop.until_done()
        attempts = {record.attempts for record in await shop.jobs.records(limit=200)}
    assert done.count("long") == 1
    assert attempts == {1}


async def enqueue_steps(shop: Any, step: Any, names: list[str]) -> None:
    async with shop.database.session() as session:
        await shop.jobs.enqueue_all(session, [JobRequest(step, {"what": name}) for name in names])


async def test_a_job_that_nothing_executes_is_given_back(open_shop: Open, database_url: str) -> None:
    async with open_shop(database_url, [note], heartbeat_s=1.0) as shop:
        await shop.enqueue(note, what="first")
        await shop.until_done()
        # As if the answer to the claim had been lost, and the process had gone on.
        columns = "name, arguments, state, rank, attempts, due_at, worker, alive_at, created_at"
        values = """name, :arguments, 'running', rank, 1, due_at, worker, alive_at, created_at"""
        async with shop.database.session() as session:
            claimed = text(f"INSERT INTO jobs ({columns}) SELECT {values} FROM jobs WHERE name = 'note'")
            await session.execute(claimed, {"arguments": '{"what": "second"}'})
        await shop.until_done()
        assert await notes(shop) == ["first", "second"]
        assert {record.attempts for record in await shop.jobs.records()} == {1}
