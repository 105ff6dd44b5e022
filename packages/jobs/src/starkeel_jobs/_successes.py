"""Records successes of jobs that wrote nothing, many by one statement."""

import asyncio
from collections.abc import Callable

from starkeel_db import DatabasePlugin

from ._claim import Claim
from ._outage import AWAY, completed, log_failure
from ._queue import JobQueue


class Successes:
    """Records the successes of jobs without a unit of work; those that end meanwhile are recorded next.

    A process that dies before that leaves the job to be executed again, as after any other crash.

    Args:
        database: Database of the queue.
        queue: The queue.
        is_stopping: Returns whether the process stops, and does not wait for a database that is away.
    """

    def __init__(self, database: DatabasePlugin, queue: JobQueue, is_stopping: Callable[[], bool]) -> None:
        self._database = database
        self._queue = queue
        self._is_stopping = is_stopping
        self._waiting: list[tuple[Claim, asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None

    def record(self, claim: Claim) -> asyncio.Future[bool]:
        """Record a success; the result is False if another process has taken the job over."""
        recorded: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((claim, recorded))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write_all())
        return recorded

    async def _write_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            ids = await self._write([claim for claim, _ in batch])
            for claim, recorded in batch:
                if not recorded.done():
                    recorded.set_result(claim.job_id in ids)

    async def _write(self, claims: list[Claim]) -> set[int]:
        async def once() -> set[int]:
            async with self._database.session() as session:
                return await self._queue.succeed_all(session, claims)

        failures = 0
        while True:
            try:
                return await completed(once)
            except Exception as error:  # noqa: BLE001 - the database may be back later
                log_failure("successes of jobs not recorded", error)
                if self._is_stopping():
                    # Without a sign of life of this process, another one takes the jobs over.
                    return set()
                failures += 1
                await asyncio.sleep(AWAY.pause_s(failures - 1))
