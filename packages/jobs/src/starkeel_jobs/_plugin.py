"""Litestar plugin for background jobs."""

import asyncio
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, ParamSpec, TextIO, final

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.plugins import InitPlugin
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import DatabasePlugin, after_commit, database_of, delete_batch

from ._definition import Job
from ._enqueuing import JobRequest, add_jobs
from ._executor import JobExecutor
from ._listener import Listener
from ._metrics import job_metrics
from ._operations import JobRecord, Operations
from ._queue import JobQueue
from ._retention import retention
from ._schedule import Schedule
from ._scheduler import Scheduler
from ._settings import JobSettings
from ._tables import JobTables, State
from ._wakeup import Wakeup
from ._worker import JobWorker

P = ParamSpec("P")


class JobTablesError(Exception):
    """The tables of jobs cannot be read."""

    def __init__(self) -> None:
        super().__init__(
            "the tables `jobs`, `job_keys` and `job_schedules` cannot be read: add them by a migration (the"
            " command `revision`), and apply it"
        )


@final
class JobsPlugin(InitPlugin):
    """Executes jobs that were enqueued in units of work, and schedules; the dependency `jobs`.

    The schedule `delete_old_rows` calls the hook of that name of all plugins. The service's migrations must
    create the tables `jobs`, `job_keys` and `job_schedules`.

    Args:
        settings: Limits, and whether this process executes jobs.
        jobs: Jobs and schedules that it executes.
        resources: Objects for `JobContext.resource`, such as clients of other services.
        database: Database of the service; by default that of the application's `DatabasePlugin`.

    Raises:
        ValueError: Two jobs have the same name.
    """

    readiness_name = "jobs"
    command_name = "jobs"
    command_help = "list, retry, discard and enqueue jobs"

    _database: DatabasePlugin
    _queue: JobQueue
    _operations: Operations
    _tables: JobTables
    _worker: JobWorker | None = None

    def __init__(
        self,
        settings: JobSettings,
        *,
        jobs: Iterable[Job[Any] | Schedule],
        resources: Sequence[object] = (),
        database: DatabasePlugin | None = None,
    ) -> None:
        self._settings = settings
        self._resources = resources
        self._given = database
        self._jobs: dict[str, Job[Any]] = {}
        self._schedules: list[Schedule] = []
        self.retention_schedule = settings.retention_schedule
        self._plugins: Iterable[object] = ()
        for each in (*jobs, retention(settings.retention_schedule, lambda: self._plugins)):
            job = each.job if isinstance(each, Schedule) else each
            self.register(job)
            if isinstance(each, Schedule):
                self._schedules.append(each)
        self._wakeup = Wakeup()
        self._has_tables = False
        self._is_work_enabled = True

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the tables, the dependency and the background tasks."""
        self._database = database = self._given or database_of(app_config)
        self._plugins = app_config.plugins
        dialect = database.settings.target.dialect
        self._tables = JobTables(database.metadata, dialect=dialect)
        self._queue = JobQueue(self._tables, is_postgres=dialect == "postgresql")
        self._operations = Operations(self._queue)
        app_config.dependencies.setdefault("jobs", Provide(lambda: self, sync_to_thread=False))
        app_config.signature_types.append(JobsPlugin)
        app_config.lifespan.append(self._lifespan)
        return app_config

    def register(self, job: Job[Any]) -> None:
        """Execute one more job; called before the application starts, such as by another plugin.

        Raises:
            ValueError: Another job has the same name.
        """
        if self._jobs.setdefault(job.name, job) is not job:
            raise ValueError(f"two jobs have the name {job.name!r}: pass `name` to one of them")

    async def enqueue(
        self, session: AsyncSession, job: Job[P], /, *args: P.args, **kwargs: P.kwargs
    ) -> int | None:
        """Enqueue a job in a unit of work: it executes after the commit, and never after a rollback.

        Args:
            session: Session of the unit of work.
            job: The job, with its options.
            args: None; arguments are passed by name.
            kwargs: Arguments of the job's function.

        Returns:
            Id of the job, or None if the same job was enqueued within its `unique_for`.

        Raises:
            TypeError: The arguments do not fit the function.
            UnitOfWorkIsOverError: The response has started.
        """
        if args:
            raise TypeError(f"job {job.name}: pass its arguments by name")
        [job_id] = await self.enqueue_all(session, [JobRequest(job, kwargs)])
        return job_id

    def enable_work(self, is_enabled: bool) -> None:
        """Execute jobs and schedules in this process, or only enqueue; called before the start."""
        self._is_work_enabled = is_enabled

    async def enqueue_all(self, session: AsyncSession, requests: Sequence[JobRequest]) -> list[int | None]:
        """Enqueue jobs in a unit of work by one statement; by two on SQLite if some are unique.

        Args:
            session: Session of the unit of work.
            requests: The jobs; those with one ordering key are executed in this order.

        Returns:
            For each job its id, or None if the same job was enqueued within its `unique_for` or comes
            before it in `requests`.

        Raises:
            TypeError: The arguments do not fit the function.
            UnitOfWorkIsOverError: The response has started.
        """
        found = await add_jobs(session, requests, is_postgres=self._queue.is_postgres)
        if any(job_id is not None for job_id in found):
            after_commit(session, self._wakeup.wake)
        return found

    async def drain(self, remaining_s: Callable[[], float]) -> None:
        """Finish the jobs that execute and claim no more; those that take longer are given back.

        Args:
            remaining_s: Returns the seconds that are left of the grace period.
        """
        if self._worker is not None:
            await self._worker.stop(remaining_s)

    async def run_due(self) -> int:
        """Execute the jobs that are due, one after another, and return their number; for tests."""
        return await self._new_worker().run_due()

    async def records(
        self, *, state: State | None = None, name: str | None = None, limit: int = 100
    ) -> list[JobRecord]:
        """Return the newest jobs, of a state and a name or all, without their arguments."""
        async with self._database.session(reads_only=True) as session:
            return await self._operations.records(session, state=state, name=name, limit=limit)

    async def retry(self, job_id: int) -> bool:
        """Execute a failed job again; return False if there is no failed job with this id."""
        async with self._database.session() as session:
            is_found = await self._operations.requeue(session, job_id)
        self._wakeup.wake()
        return is_found

    async def discard(self, job_id: int) -> bool:
        """Delete a job that is not being executed; return False if there is none with this id."""
        async with self._database.session() as session:
            return await self._operations.discard(session, job_id)

    @property
    def known_jobs(self) -> Mapping[str, Job[Any]]:
        """The jobs that this service executes, by their names."""
        return self._jobs

    async def enqueue_now(self, job: Job[Any], arguments: Mapping[str, Any]) -> int | None:
        """Enqueue a job in a unit of work of its own, and return its id.

        Raises:
            TypeError: The arguments do not fit the function.
        """
        async with self._database.session() as session:
            [job_id] = await self.enqueue_all(session, [JobRequest(job, arguments)])
            return job_id

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the arguments of the command `jobs`."""
        from . import _commands

        _commands.add_arguments(parser)

    async def run_command(self, options: Namespace, stdout: TextIO) -> int:
        """Run the command `jobs`; return the exit code."""
        from . import _commands

        return await _commands.run(self, options, stdout)

    async def check_ready(self) -> None:
        """Raise when the tables of jobs cannot be read."""
        if self._has_tables:
            return
        try:
            await self.records(limit=1)
        except SQLAlchemyError as error:
            raise JobTablesError from error
        self._has_tables = True

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """Yield the features for the start log: name, whether it is on, and the reason."""
        reason = (
            "executed in this process" if self._is_work_enabled else "RUN_WORKER is false: only enqueued here"
        )
        yield "jobs", self._is_work_enabled, reason

    async def delete_old_rows(self) -> int:
        """Delete at most 1000 jobs and 1000 keys whose time is over; return the number of the larger part."""
        retention = timedelta(hours=self._settings.retention_hours)
        job_id = self._tables.jobs.c.id
        key = self._tables.keys.c.key
        async with self._database.session() as session:
            jobs = await delete_batch(session, job_id, self._operations.is_old(retention))
            return max(jobs, await delete_batch(session, key, self._operations.is_free()))

    def _new_worker(self) -> JobWorker:
        executor = JobExecutor(self._database, self._queue, self._jobs, self._resources)
        return JobWorker(self._database, self._queue, self._jobs, self._settings, executor, self._wakeup)

    @asynccontextmanager
    async def _lifespan(self, _: Litestar) -> AsyncGenerator[None]:
        if not self._is_work_enabled:
            yield
            return
        job_metrics().expect(self._jobs, [schedule.job.name for schedule in self._schedules])
        self._worker = worker = self._new_worker()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.run())
            scheduler = Scheduler(self._database, self._queue, self._schedules, self._wakeup)
            besides = [tasks.create_task(scheduler.run())]
            if self._queue.is_postgres:
                besides.append(tasks.create_task(Listener(self._database, self._wakeup).run()))
            try:
                yield
            finally:
                for task in besides:
                    task.cancel()
                # The grace period is over, or there was none under another server.
                await worker.stop(lambda: 0.0)
                self._worker = None
