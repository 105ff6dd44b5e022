"""Jobs of Starkeel: enqueue them, execute them, and print the jobs per second of both.

`execute` is of jobs whose effect is committed together with their success; `execute_apart` is of those with
the handler of the other contenders, which write by a connection of their own.
"""

import asyncio
import json
import sys
import time

import asyncpg
from litestar import Litestar
from sqlalchemy import MetaData, text
from starkeel_config import Secret
from starkeel_db import DatabasePlugin, DatabaseSettings
from starkeel_jobs import JobContext, JobSettings, JobsPlugin, job

_INSERT = text("INSERT INTO effects (number) VALUES (:number)")
_done: list[float] = []
"""Time of each effect."""


@job()
async def note(context: JobContext, *, number: int) -> None:
    await context.session.execute(_INSERT, {"number": number})
    _done.append(time.perf_counter())


@job()
async def note_apart(context: JobContext, *, number: int) -> None:
    await context.resource(asyncpg.Pool).execute("INSERT INTO effects (number) VALUES ($1)", number)
    _done.append(time.perf_counter())


async def main(url: str, count: int) -> None:
    metadata = MetaData()
    database = DatabasePlugin(
        DatabaseSettings(url=Secret(url), max_connections=20), metadata=metadata, migrations="none"
    )
    pool = await asyncpg.create_pool(url, min_size=10, max_size=10)
    jobs = [note, note_apart]
    enqueuing = JobsPlugin(JobSettings(), jobs=jobs, database=database)
    enqueuing.enable_work(False)
    async with Litestar([], plugins=[database, enqueuing]).lifespan(), database.session() as session:
        await (await session.connection()).run_sync(metadata.create_all)
        await session.execute(text("CREATE TABLE effects (number BIGINT)"))
    figures = {}
    for figure, each in {"execute": note, "execute_apart": note_apart}.items():
        _done.clear()
        async with Litestar([], plugins=[database, enqueuing]).lifespan():
            began = time.perf_counter()
            async with database.session() as session:
                for number in range(count):
                    await enqueuing.enqueue(session, each, number=number)
            figures["enqueue"] = count / (time.perf_counter() - began)
        executing = JobsPlugin(JobSettings(concurrency=10), jobs=jobs, database=database, resources=[pool])
        async with Litestar([], plugins=[database, executing]).lifespan():
            while len(_done) < count:  # noqa: ASYNC110 - counts in handlers
                await asyncio.sleep(0.001)
        figures[figure] = (count - 1) / (_done[-1] - _done[0])
    await pool.close()
    sys.stdout.write(json.dumps(figures))


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
