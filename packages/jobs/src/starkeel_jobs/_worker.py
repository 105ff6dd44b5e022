"""Executes the jobs of a queue in a process: claims them, and shows that the process is alive."""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from secrets import token_hex
from typing import Any, Final

import structlog
from starkeel_db import DatabasePlugin

from ._claim import Claim
from ._definition import Job
from ._executor import JobExecutor
from ._metrics import job_metrics
from ._operations import Operations
from ._outage import AWAY, completed, log_failure
from ._queue import JobQueue
from ._ready import Ready
from ._settings import JobSettings
from ._wakeup import Wakeup

log = structlog.get_logger(__name__)

_POLL_S: Final = 1.0
_GIVE_BACK_S: Final = 3.0
"""Seconds for giving back the jobs that are cancelled at a stop."""
_COUNT_EVERY_S: Final = 5.0
_RECORDING: Final = 4
"""Maximum number of jobs whose successes are being recorded, as a multiple of those that may execute."""


class JobWorker:
    """Executes the jobs of a queue until it is stopped.

    Args:
        database: Database of the queue and of the jobs' units of work.
        queue: The queue.
        jobs: Jobs by name; others are left to processes with another version of the service.
        settings: Limits.
        executor: Executes a claimed job.
        wakeup: Wakes this worker when a job is added.
    """

    def __init__(
        self,
        database: DatabasePlugin,
        queue: JobQueue,
        jobs: Mapping[str, Job[Any]],
        settings: JobSettings,
        executor: JobExecutor,
        wakeup: Wakeup,
    ) -> None:
        self._database = database
        self._queue = queue
        self._jobs = jobs
        self._settings = settings
        self._executor = executor
        self._wakeup = wakeup
        self._metrics = job_metrics()
        self._name = f"{socket.gethostname()[:60]}-{os.getpid()}-{token_hex(4)}"
        self._running: dict[int, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = Ready(settings.concurrency)
        self._claiming = asyncio.Lock()
        self._shown_alive_at = time.monotonic()

    async def run(self) -> None:
        """Execute jobs until `stop`; a cancellation does not give back the jobs that execute."""
        async with asyncio.TaskGroup() as tasks:
            self._executor.on_recording = partial(self._begin, tasks)
            alive = tasks.create_task(self._show_alive(tasks))
            counting = tasks.create_task(self._count())
            failures = 0
            while not self._executor.is_stopping:
                try:
                    has_more = await self._claim_jobs(tasks)
                except Exception as error:  # noqa: BLE001 - the database may be back later
                    log_failure("jobs not claimed", error)
                    failures += 1
                    await self._wakeup.wait(timeout_s=AWAY.pause_s(failures - 1))
                    continue
                failures = 0
                if not has_more:
                    await self._wakeup.wait(timeout_s=_POLL_S)
            counting.cancel()
            while self._running:
                await asyncio.wait(self._running.values())
            alive.cancel()

    async def stop(self, remaining_s: Callable[[], float]) -> None:
        """Claim no more jobs, let those that execute finish, and give back the others.

        Args:
            remaining_s: Returns the seconds that are left of the grace period.
        """
        self._executor.is_stopping = True
        self._wakeup.wake()
        # A claim that is being made ends first.
        async with self._claiming:
            pass
        await self._give_back_ready()
        while self._running and (left_s := remaining_s()) > 0:
            await asyncio.wait(self._running.values(), timeout=min(left_s, _POLL_S))
        late = set(self._running.values())
        count = len(self._running)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=_GIVE_BACK_S)
            log.warning("jobs cancelled and given back", count=count)

    async def run_due(self) -> int:
        """Execute the jobs that are due, one after another, and return their number."""
        count = 0
        while claims := await self._claim(1, free=1):
            for claim in claims:
                await self._executor.execute(claim)
                count += 1
        return count

    async def _claim_jobs(self, tasks: asyncio.TaskGroup) -> bool:
        """Claim the jobs that may begin now or soon; return whether there may be more to claim now."""
        if self._ready.waited_s() > _POLL_S:
            # The jobs that execute take longer than others before them: another process may be free.
            await self._give_back_ready()
        free = max(0, self._free() - len(self._ready))
        limit = free + self._ready.room()
        if limit == 0:
            return False
        async with self._claiming:
            if self._executor.is_stopping:
                return False
            claims = await self._claim(limit, free=free)
            self._ready.add(claims)
        self._begin(tasks)
        return len(claims) == limit

    def _free(self) -> int:
        """Return how many more jobs may begin."""
        # Many successes are recorded by one statement; how many wait for it has a limit as well.
        concurrency = self._settings.concurrency
        return concurrency + min(self._executor.recording, _RECORDING * concurrency) - len(self._tasks)

    def _begin(self, tasks: asyncio.TaskGroup) -> None:
        """Begin claimed jobs while fewer than the maximum execute."""
        # After a pause of this process its jobs may be another one's; the next sign of life finds out.
        is_silent = time.monotonic() - self._shown_alive_at > self._settings.heartbeat_s
        while self._ready and self._free() > 0 and not is_silent:
            if self._executor.is_stopping:
                return
            claims = self._ready.pop(self._jobs)
            task = tasks.create_task(self._execute(claims))
            self._tasks.add(task)
            self._running |= dict.fromkeys((claim.job_id for claim in claims), task)
            task.add_done_callback(partial(self._ended, claims, tasks))

    async def _execute(self, claims: Sequence[Claim]) -> None:
        began = time.monotonic()
        if len(claims) == 1:
            await self._executor.execute(claims[0])
        else:
            self._ready.add_alone(await self._executor.execute_together(claims))
        self._ready.note_duration((time.monotonic() - began) / len(claims))

    def _ended(self, claims: Sequence[Claim], tasks: asyncio.TaskGroup, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        for claim in claims:
            # A job that was given back may have been claimed again.
            if self._running.get(claim.job_id) is task:
                del self._running[claim.job_id]
        if not task.cancelled() and task.exception() is None:
            self._begin(tasks)
        if self._free() > 0 or self._ready.room():
            self._wakeup.wake()

    async def _claim(self, limit: int, *, free: int) -> list[Claim]:
        async def claim() -> list[Claim]:
            async with self._database.session() as session:
                return await self._queue.claim(
                    session, self._jobs.values(), worker=self._name, limit=limit, free=free
                )

        return await completed(claim)

    async def _give_back_ready(self) -> None:
        claims = self._ready.clear()

        async def give_back() -> None:
            async with self._database.session() as session:
                for claim in claims:
                    await self._queue.give_back(session, claim, pause_s=0.0)

        if not claims:
            return
        try:
            await completed(give_back)
        except Exception as error:  # noqa: BLE001 - another process takes them over
            log_failure("claimed jobs not given back", error)

    def _unknown(self, ids: set[int]) -> set[int]:
        """Return the jobs that this process neither executes nor keeps ready."""
        return ids - set(self._running) - self._ready.ids()

    async def _give_back_unknown(self, ids: set[int]) -> None:
        async def give_back() -> None:
            # A claim that is being made ends first.
            async with self._claiming, self._database.session() as session:
                await self._queue.give_back_unknown(session, self._name, self._unknown(ids))

        try:
            await completed(give_back)
        except Exception as error:  # noqa: BLE001 - repeated after the next sign of life
            log_failure("claimed jobs not given back", error)

    async def _show_alive(self, tasks: asyncio.TaskGroup) -> None:
        """Show that this process is alive, and take over the jobs of those that do not."""

        async def show() -> tuple[set[int], list[int]]:
            async with self._database.session() as session:
                mine = await self._queue.show_alive(session, self._name)
                return mine, await self._queue.take_over(session, heartbeat_s=self._settings.heartbeat_s)

        missing: set[int] = set()
        unknown: set[int] = set()
        while True:
            began, running, ready = time.monotonic(), set(self._running), self._ready.ids()
            try:
                mine, taken = await completed(show)
            except Exception as error:  # noqa: BLE001 - the database may be back later
                log_failure("sign of life not recorded", error)
            else:
                self._shown_alive_at = began
                self._ready.remove(ready - mine)
                if taken:
                    log.warning("jobs taken over", count=len(taken), reason="their process has died")
                if taken or self._ready:
                    self._wakeup.wake()
                self._begin(tasks)
                # Once missing, it may just have ended.
                missing, before = running - mine, missing
                for job_id in missing & before:
                    if task := self._running.get(job_id):
                        self._executor.lost.add(job_id)
                        task.cancel()
                self._executor.lost &= set(self._running)
                # Twice unknown: the claim that returned them has had no answer.
                unknown, before = self._unknown(mine), unknown
                if unknown & before:
                    await self._give_back_unknown(unknown & before)
            await asyncio.sleep(self._settings.heartbeat_s / 4)

    async def _count(self) -> None:
        metrics = self._metrics
        while True:
            try:
                async with self._database.session(reads_only=True) as session:
                    counts = await Operations(self._queue).count(session)
            except Exception as error:  # noqa: BLE001 - the database may be back later
                log_failure("jobs not counted", error)
            else:
                metrics.due.set(counts.due)
                metrics.later.set(counts.later)
                metrics.running.set(counts.running)
                metrics.failed.set(counts.failed)
                metrics.oldest_s.set(counts.oldest_s)
            await asyncio.sleep(_COUNT_EVERY_S)
