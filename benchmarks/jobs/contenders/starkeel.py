"""Jobs of Starkeel: enqueue them, execute them, and print the jobs per second of both, and the CPU time.

A job inserts a row by its session, which is committed together with its success (`session`), or by a
connection of its own (`apart`). Logs, metrics and spans are those of a service: each job writes a line.
"""

import asyncio
import json
import sys
import time

import asyncpg
import msgspec
import uvloop
from litestar import Litestar
from sqlalchemy import MetaData, text
from starkeel_config import Secret
from starkeel_db import DatabasePlugin, DatabaseSettings
from starkeel_jobs import JobContext, JobSettings, JobsPlugin, job
from starkeel_observability import ObservabilityPlugin, ObservabilitySettings

CONCURRENCY = 10
_INSERT = text("INSERT INTO effects (number) VALUES (:number)")
_done: list[tuple[float, float]] = []
"""Time of each effect, and the CPU time of the process until then."""


@job()
async def session(context: JobContext, *, number: int) -> None:
    await context.session.execute(_INSERT, {"number": number})
    _done.append((time.perf_counter(), time.process_time()))


@job()
async def apart(context: JobContext, *, number: int) -> None:
    await context.resource(asyncpg.Pool).execute("INSERT INTO effects (number) VALUES ($1)", number)
    _done.append((time.perf_counter(), time.process_time()))


async def main(url: str, count: int) -> None:
    metadata = MetaData()
    database = DatabasePlugin(
        DatabaseSettings(url=Secret(url), max_connections=20), metadata=metadata, migrations="none"
    )
    named = {"service_name": "notes", "service_version": "1"}
    telemetry = ObservabilityPlugin(msgspec.convert(named, ObservabilitySettings))
    telemetry.start_process(role="worker", index=0, workers=1)
    pool = await asyncpg.create_pool(url, min_size=CONCURRENCY, max_size=CONCURRENCY)
    jobs = [session, apart]
    enqueuing = JobsPlugin(JobSettings(), jobs=jobs, database=database)
    enqueuing.enable_work(False)
    async with Litestar([], plugins=[database, enqueuing]).lifespan(), database.session() as created:
        await (await created.connection()).run_sync(metadata.create_all)
        await created.execute(text("CREATE TABLE effects (number BIGINT)"))
    figures = {}
    for each in jobs:
        _done.clear()
        async with Litestar([], plugins=[database, enqueuing]).lifespan():
            began = time.perf_counter()
            async with database.session() as unit_of_work:
                for number in range(count):
                    await enqueuing.enqueue(unit_of_work, each, number=number)
            figures["enqueue"] = count / (time.perf_counter() - began)
        executing = JobsPlugin(
            JobSettings(concurrency=CONCURRENCY), jobs=jobs, database=database, resources=[pool]
        )
        async with Litestar([], plugins=[database, executing]).lifespan():
            while len(_done) < count:  # noqa: ASYNC110 - counts in handlers
                await asyncio.sleep(0.001)
        executed, cpu = (last - first for first, last in zip(_done[0], _done[-1], strict=True))
        figures[each.name] = (count - 1) / executed
        figures[f"{each.name}_cpu_us"] = cpu / (count - 1) * 1e6
    await pool.close()
    telemetry.stop_process(timeout_s=1.0)
    sys.stdout.write(json.dumps(figures))


uvloop.run(main(sys.argv[1], int(sys.argv[2])))
