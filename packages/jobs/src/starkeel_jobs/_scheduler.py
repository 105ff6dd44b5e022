"""Enqueues the jobs of schedules when they are due."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import structlog
from starkeel_db import DatabasePlugin

from ._enqueuing import JobRequest, add_jobs
from ._metrics import job_metrics
from ._operations import Operations
from ._outage import AWAY, log_failure
from ._queue import JobQueue
from ._schedule import Schedule
from ._wakeup import Wakeup

log = structlog.get_logger(__name__)

_CHECK_S: Final = 10.0
"""Maximum seconds between two checks of the clock, which may be set."""


class Scheduler:
    """Enqueues due runs; any number of processes may do so, each run is enqueued by one of them."""

    def __init__(
        self, database: DatabasePlugin, queue: JobQueue, schedules: Sequence[Schedule], wakeup: Wakeup
    ) -> None:
        self._database = database
        self._queue = queue
        self._operations = Operations(queue)
        self._schedules = schedules
        self._wakeup = wakeup

    async def run(self) -> None:
        """Enqueue runs until cancelled."""
        failures = 0
        while True:
            now = datetime.now(UTC)
            try:
                for schedule in self._schedules:
                    await self.check(schedule, now)
            except Exception as error:  # noqa: BLE001 - the database may be back later
                log_failure("schedules not checked", error)
                failures += 1
                pause_s = AWAY.pause_s(failures - 1)
            else:
                failures = 0
                after = min(schedule.following(now) for schedule in self._schedules)
                pause_s = min(_CHECK_S, max(0.0, (after - datetime.now(UTC)).total_seconds()))
            await asyncio.sleep(pause_s)

    async def check(self, schedule: Schedule, now: datetime) -> bool:
        """Enqueue the last run of a schedule unless that was done; return whether it was done now."""
        name, due_at = schedule.job.name, schedule.latest(now)
        async with self._database.session() as session:
            last = await self._operations.record_schedule(session, name, due_at)
            # A new schedule begins with its next run.
            if last is None or last >= due_at or not await self._operations.begin_run(session, name, due_at):
                return False
            if now - due_at > schedule.catch_up:
                job_metrics().missed.labels(job=name).inc()
                log.warning("scheduled run left out", job=name, due_at=due_at.isoformat())
                return False
            await add_jobs(session, [JobRequest(schedule.job, {})], is_postgres=self._queue.is_postgres)
        self._wakeup.wake()
        return True
