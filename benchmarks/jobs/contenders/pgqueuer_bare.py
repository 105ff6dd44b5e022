"""Jobs of PgQueuer: enqueue them, execute them, and print the jobs per second of both, and the CPU time.

A job inserts a row by SQLAlchemy in a transaction of its own (`session`), or by one statement of asyncpg
(`apart`).
"""

import json
import sys
import time

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.adapters.persistence.queries import Queries
from sqlalchemy import text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

CONCURRENCY = 10
_INSERT = text("INSERT INTO effects (number) VALUES (:number)")
_done = []


async def main(url: str, count: int) -> None:
    pool = await asyncpg.create_pool(url, min_size=CONCURRENCY, max_size=CONCURRENCY)
    engine = create_async_engine(
        url.replace("postgresql://", "postgresql+asyncpg://"), pool_size=CONCURRENCY, max_overflow=0
    )
    sessions = async_sessionmaker(engine)
    queries = Queries(AsyncpgPoolDriver(pool))
    await queries.install()
    await pool.execute("CREATE TABLE effects (number BIGINT)")

    async def apart(job):
        await pool.execute("INSERT INTO effects (number) VALUES ($1)", int(job.payload))
        _done.append((time.perf_counter(), time.process_time()))

    async def session(job):
        async with sessions() as own, own.begin():
            await own.execute(_INSERT, {"number": int(job.payload)})
        _done.append((time.perf_counter(), time.process_time()))

    figures = {}
    for kind in (session, apart):
        figures |= await measured(url, kind, count)
    await engine.dispose()
    await pool.close()
    sys.stdout.write(json.dumps(figures))


async def measured(url: str, kind, count: int) -> dict[str, float]:
    """Enqueue and execute jobs of one kind, on connections of their own."""
    _done.clear()
    connection = await asyncpg.connect(url)
    async with connection.transaction():
        own = Queries(AsyncpgDriver(connection))
        began = time.perf_counter()
        for number in range(count):
            await own.enqueue(kind.__name__, str(number).encode())
        enqueued = time.perf_counter() - began
    queuer = PgQueuer(AsyncpgDriver(connection))

    @queuer.entrypoint(kind.__name__)
    async def execute(job):
        await kind(job)
        if len(_done) == count:
            queuer.shutdown.set()

    await queuer.run(batch_size=CONCURRENCY)
    await connection.close()
    executed, cpu = (last - first for first, last in zip(_done[0], _done[-1], strict=True))
    return {
        "enqueue": count / enqueued,
        kind.__name__: (count - 1) / executed,
        f"{kind.__name__}_cpu_us": cpu / (count - 1) * 1e6,
    }


uvloop.run(main(sys.argv[1], int(sys.argv[2])))
