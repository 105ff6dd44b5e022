"""Jobs of PgQueuer: enqueue them, execute them, and print the jobs per second of both."""

import asyncio
import json
import sys
import time

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.adapters.persistence.queries import Queries

_done = []


async def main(url: str, count: int) -> None:
    pool = await asyncpg.create_pool(url, max_size=20)
    queries = Queries(AsyncpgPoolDriver(pool))
    await queries.install()
    await pool.execute("CREATE TABLE effects (number BIGINT)")
    async with pool.acquire() as connection, connection.transaction():
        own = Queries(AsyncpgDriver(connection))
        began = time.perf_counter()
        for number in range(count):
            await own.enqueue("note", str(number).encode())
    enqueued = time.perf_counter() - began
    async with pool.acquire() as connection:
        queuer = PgQueuer(AsyncpgDriver(connection))

        @queuer.entrypoint("note")
        async def note(job):
            await pool.execute("INSERT INTO effects (number) VALUES ($1)", int(job.payload))
            _done.append(time.perf_counter())
            if len(_done) == count:
                queuer.shutdown.set()

        await queuer.run(batch_size=10)
    executed = _done[-1] - _done[0]
    sys.stdout.write(json.dumps({"enqueue": count / enqueued, "execute": (count - 1) / executed}))


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
