"""Jobs and units of work, on both databases."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from starkeel_config import Backoff
from starkeel_jobs import JobContext, job

from .jobs_shop import Open, until

SOON = Backoff(base_s=0.01, cap_s=0.02, jitter=0.1)


@job(attempts=3, backoff=SOON)
async def note(context: JobContext, *, what: str) -> None:
    await context.session.execute(
        text("INSERT INTO effects VALUES (:job_id, :note)"), {"job_id": context.job_id, "note": what}
    )
    if what.startswith("bad"):
        raise ValueError(f"secret {what}")


@job()
async def quiet(_: JobContext, *, what: str) -> None:
    """Do nothing, and so use no session."""


async def notes(shop: Any) -> list[str]:
    return [row.note for row in await shop.execute("SELECT note FROM effects ORDER BY note")]


async def enqueue_and_fail(shop: Any, enqueued: Any, **arguments: Any) -> None:
    """Enqueue a job in a unit of work that is rolled back."""
    with suppress(ZeroDivisionError):
        async with shop.database.session() as session:
            assert await shop.jobs.enqueue(session, enqueued, **arguments) is not None
            raise ZeroDivisionError


async def test_a_job_executes_after_the_commit(open_shop: Open, database_url: str) -> None:
    async with open_shop(database_url, [note]) as shop:
        async with shop.database.session() as session:
            job_id = await shop.jobs.enqueue(session, note, what="tea")
        await shop.until_done()
        [record] = await shop.jobs.records()
        assert (record.job_id, record.name, record.state, record.attempts) == (job_id, "note", "succeeded", 1)
        assert await notes(shop) == ["tea"]


async def test_a_job_of_a_rolled_back_unit_of_work_never_executes(open_shop: Open, database_url: str) -> None:
    async with open_shop(database_url, [note]) as shop:
        await enqueue_and_fail(shop, note, what="tea")
        assert await shop.jobs.records() == []


async def test_a_failed_attempt_leaves_no_trace_and_the_last_one_is_kept(
    open_shop: Open, database_url: str, logged: list[Any]
) -> None:
    async with open_shop(database_url, [note]) as shop:
        job_id = await shop.enqueue(note, what="bad tea")
        await shop.until_done()
        [record] = await shop.jobs.records(state="failed")
        assert (record.job_id, record.attempts) == (job_id, 3)
        # Where it was raised, and not the message, which may contain data.
        assert record.error is not None
        assert record.error.startswith("builtins.ValueError\n")
        assert "in note" in record.error
        assert "secret" not in record.error
        assert await notes(shop) == []
        events = [entry["event"] for entry in logged if entry.get("job_id") == job_id]
        assert events == ["job retried", "job retried", "job failed"]


async def test_an_operator_retries_and_discards(open_shop: Open, database_url: str) -> None:
    async with open_shop(database_url, [note]) as shop:
        first, second = await shop.enqueue(note, what="bad 1"), await shop.enqueue(note, what="bad 2")
        await shop.until_done()
        await shop.execute('UPDATE jobs SET arguments = \'{"what": "good"}\'')
        assert await shop.jobs.retry(first)
        assert await shop.jobs.discard(second)
        await shop.until_done()
        assert await notes(shop) == ["good"]
        assert not await shop.jobs.retry(first)
        assert not await shop.jobs.discard(second)


async def test_arguments_of_another_version_are_not_retried(open_shop: Open, database_url: str) -> None:
    async with open_shop(database_url, [note]) as shop:
        await shop.execute(
            "INSERT INTO jobs (name, arguments, state, rank, due_at, created_at) VALUES"
            " ('note', '{\"old\": 1}', 'queued', 0, '2020-01-01 00:00:00+00', '2020-01-01 00:00:00+00')"
        )
        await shop.until_done()
        [record] = await shop.jobs.records()
        assert (record.state, record.attempts) == ("failed", 1)


async def test_jobs_of_another_version_are_left(open_shop: Open, database_url: str) -> None:
    @job()
    async def later(_: JobContext) -> None: ...

    async with open_shop(database_url, [note]) as shop:
        await shop.enqueue(later)
        await shop.enqueue(note, what="tea")
        await until_state(shop, "note", "succeeded")
        assert {record.name: record.state for record in await shop.jobs.records()} == {
            "later": "queued",
            "note": "succeeded",
        }


async def until_state(shop: Any, name: str, state: str) -> None:
    async with asyncio.timeout(30):
        while (name, state) not in [(each.name, each.state) for each in await shop.jobs.records()]:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.02)


async def test_priority_and_time_decide_the_order(open_shop: Open, database_url: str) -> None:
    order: list[str] = []

    @job()
    async def step(_: JobContext, *, what: str) -> None:
        order.append(what)

    async with open_shop(database_url, [step], works=False) as shop:
        now = datetime.now(UTC)
        await shop.enqueue(step, what="normal")
        await shop.enqueue(step.with_options(priority=-5), what="low")
        await shop.enqueue(step.with_options(priority=5), what="high")
        await shop.enqueue(step.with_options(run_at=now + timedelta(hours=1)), what="later")
        assert await shop.jobs.run_due() == 3
        assert order == ["high", "normal", "low"]


async def test_a_unique_job_is_enqueued_once(open_shop: Open, database_url: str) -> None:
    async with open_shop(database_url, [note], works=False) as shop:
        unique = note.with_options(unique_for=timedelta(hours=1))
        assert await shop.enqueue(unique, what="a") is not None
        assert await shop.enqueue(unique, what="a") is None
        assert await shop.enqueue(unique, what="b") is not None
        named = note.with_options(unique_for=timedelta(hours=1), unique_key="one")
        assert await shop.enqueue(named, what="c") is not None
        assert await shop.enqueue(named, what="d") is None
        assert await shop.jobs.run_due() == 3
        # Also after it has executed, until the time is over.
        assert await shop.enqueue(unique, what="a") is None
        await shop.execute("UPDATE job_keys SET until = '2020-01-01 00:00:00+00'")
        assert await shop.enqueue(unique, what="a") is not None


async def test_a_unique_job_of_a_rolled_back_unit_of_work_may_be_enqueued(
    open_shop: Open, database_url: str
) -> None:
    unique = note.with_options(unique_for=timedelta(hours=1))
    async with open_shop(database_url, [note], works=False) as shop:
        await enqueue_and_fail(shop, unique, what="a")
        assert await shop.enqueue(unique, what="a") is not None


async def test_a_job_that_takes_too_long_is_cancelled(open_shop: Open, database_url: str) -> None:
    cancelled: list[bool] = []

    @job(attempts=1, timeout_s=0.1)
    async def endless(_: JobContext) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(True)

    async with open_shop(database_url, [endless]) as shop:
        await shop.enqueue(endless)
        await shop.until_done()
        [record] = await shop.jobs.records()
        assert (record.state, record.error) == ("failed", "timed out after 0.1 s")
        assert cancelled == [True]


async def test_a_limit_per_name_holds_among_processes(open_shop: Open, database_url: str) -> None:
    executing, most, may_end = 0, 0, asyncio.Event()

    @job(concurrency=2)
    async def narrow(_: JobContext) -> None:
        nonlocal executing, most
        executing += 1
        most = max(most, executing)
        await may_end.wait()
        executing -= 1

    async with open_shop(database_url, [narrow]) as first, open_shop(database_url, [narrow]):
        for _ in range(8):
            await first.enqueue(narrow)
        await until(lambda: executing == 2)
        may_end.set()
        await first.until_done()
        assert most == 2


async def test_a_stop_gives_back_what_does_not_finish(open_shop: Open, database_url: str) -> None:
    begun, may_end = [], asyncio.Event()

    @job()
    async def slow(context: JobContext, *, what: str) -> None:
        begun.append(what)
        await (may_end.wait() if what == "short" else asyncio.Event().wait())

    async with open_shop(database_url, [slow]) as shop:
        await shop.enqueue(slow, what="short")
        await shop.enqueue(slow, what="long")
        await until(lambda: len(begun) == 2)
        left_s = 30.0
        draining = asyncio.ensure_future(shop.jobs.drain(lambda: left_s))
        await asyncio.sleep(0)
        # Nothing new is taken meanwhile.
        await shop.enqueue(slow, what="new")
        may_end.set()
        await until_state(shop, "slow", "succeeded")
        left_s = 0.0
        await draining
        records = {(each.state, each.attempts) for each in await shop.jobs.records()}
        # The attempt that was given back does not count.
        assert records == {("succeeded", 1), ("queued", 0)}
    assert sorted(begun) == ["long", "short"]


async def test_resources_are_found_by_their_type(open_shop: Open, database_url: str) -> None:
    class Mailer:
        sent = 0

    @job(attempts=1)
    async def send(context: JobContext) -> None:
        context.resource(Mailer).sent += 1

    mailer = Mailer()
    async with open_shop(database_url, [send], resources=[mailer]) as shop:
        await shop.enqueue(send)
        await shop.until_done()
    assert mailer.sent == 1
    async with open_shop(database_url, [send], resources=[mailer, Mailer()]) as shop:
        await shop.enqueue(send)
        await shop.until_done()
        [record] = await shop.jobs.records(state="failed")
        assert record.error is not None
        assert record.error.startswith("builtins.LookupError")


async def test_without_its_tables_a_service_is_not_ready(
    open_shop: Open, database_url: str, logged: list[Any]
) -> None:
    async with open_shop(database_url, [note], works=False) as shop:
        await shop.jobs.check_ready()
        await shop.execute("DROP TABLE jobs")
        # Checked until they were found once.
        await shop.jobs.check_ready()
        await shop.execute("CREATE TABLE jobs (id INTEGER)")
    async with open_shop(database_url, [note]) as shop:
        with pytest.raises(Exception, match="add them by a migration"):
            await shop.jobs.check_ready()
        await until(lambda: any(entry["event"] == "jobs not claimed" for entry in logged))
    failures = [entry for entry in logged if entry["event"] == "jobs not claimed"]
    assert all("exc_info" not in entry for entry in failures)


@pytest.mark.parametrize("uses_session", [False, True])
async def test_the_arguments_of_a_job_are_deleted_with_its_success(
    open_shop: Open, database_url: str, uses_session: bool
) -> None:
    async with open_shop(database_url, [note, quiet], works=False) as shop:
        await shop.enqueue(note if uses_session else quiet, what="ada@example.com")
        [[before]] = await shop.execute("SELECT arguments FROM jobs")
        await shop.jobs.run_due()
        [[after]] = await shop.execute("SELECT arguments FROM jobs WHERE state = 'succeeded'")

    assert "ada@example.com" in before
    assert after == "{}"


async def test_old_jobs_and_keys_are_deleted(open_shop: Open, database_url: str) -> None:
    async with open_shop(database_url, [note], retention_hours=1) as shop:
        await shop.enqueue(note.with_options(unique_for=timedelta(seconds=1)), what="old")
        await shop.until_done()
        assert await shop.jobs.delete_old_rows() == 0
        await shop.execute("UPDATE jobs SET finished_at = '2020-01-01 00:00:00+00'")
        await shop.execute("UPDATE job_keys SET until = '2020-01-01 00:00:00+00'")
        await shop.enqueue(note, what="new")
        await shop.until_done()
        assert await shop.jobs.delete_old_rows() == 1
        assert [each.state for each in await shop.jobs.records()] == ["succeeded"]
        assert await shop.execute("SELECT * FROM job_keys") == []
