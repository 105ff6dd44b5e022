"""Jobs that commit before a slow call, and so release their connection."""

from sqlalchemy import text
from starkeel_db import DatabasePlugin
from starkeel_jobs import JobContext, job

from .jobs_shop import Open
from .test_jobs_queue import SOON, notes

_NOTE = text("INSERT INTO effects VALUES (:job_id, :note)")


async def test_a_job_may_commit_before_a_slow_call(open_shop: Open, database_url: str) -> None:
    used: list[int] = []

    @job(attempts=3, backoff=SOON)
    async def send(context: JobContext) -> None:
        note = {"job_id": context.job_id, "note": f"attempt {context.attempt}"}
        await context.session.execute(_NOTE, note)
        await context.session.commit()
        # Another connection reads it, and on SQLite the lock is free.
        async with context.resource(DatabasePlugin).session() as session:
            used.append(int(await session.scalar(text("SELECT count(*) FROM effects")) or 0))
        if context.attempt == 1:
            raise ValueError

    resources: list[object] = []
    async with open_shop(database_url, [send], resources=resources) as shop:
        resources.append(shop.database)
        await shop.enqueue(send)
        await shop.until_done()
        [record] = await shop.jobs.records()
        assert (record.state, record.attempts) == ("succeeded", 2)
        # What was committed stays, and the next attempt begins from the start.
        assert await notes(shop) == ["attempt 1", "attempt 2"]
    assert used == [1, 2]
