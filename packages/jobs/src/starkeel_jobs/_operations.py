"""Statements of operators, schedules and metrics on the queue."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Select, and_, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from ._queue import JobQueue
from ._tables import State


class JobRecord(NamedTuple):
    """A job as operators see it; it has no arguments, which may be personal data."""

    job_id: int
    name: str
    state: State
    attempts: int
    due_at: datetime
    created_at: datetime
    finished_at: datetime | None
    error: str | None


class Counts(NamedTuple):
    """Number of jobs by state, and the seconds for which the oldest due job has waited."""

    due: int
    later: int
    running: int
    failed: int
    oldest_s: float


class Operations:
    """Statements of operators, schedules and metrics on the tables of a queue."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    async def count(self, session: AsyncSession) -> Counts:
        """Count the jobs that are not done."""
        columns, now = self._queue.tables.jobs.c, self._queue.now
        is_due = and_(columns.state == "queued", columns.due_at <= now)
        is_later = and_(columns.state == "queued", columns.due_at > now)
        counts = select(
            func.count().filter(is_due),
            func.count().filter(is_later),
            func.count().filter(columns.state == "running"),
            func.count().filter(columns.state == "failed"),
            func.min(columns.due_at).filter(is_due),
            now,
        ).where(columns.state.in_(["queued", "running", "failed"]))
        due, later, running, failed, oldest, current = (await session.execute(counts)).one()
        oldest_s = 0.0 if oldest is None else max(0.0, (current - oldest).total_seconds())
        return Counts(due, later, running, failed, oldest_s)

    async def record_schedule(self, session: AsyncSession, name: str, due_at: datetime) -> datetime | None:
        """Record the first time of a schedule, or return the last recorded one."""
        schedules = self._queue.tables.schedules
        found: datetime | None = await session.scalar(
            select(schedules.c.last_due).where(schedules.c.name == name)
        )
        if found is not None:
            return found
        if self._queue.is_postgres:
            from sqlalchemy.dialects.postgresql import insert
        else:
            from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # of the same form
        await session.execute(insert(schedules).values(name=name, last_due=due_at).on_conflict_do_nothing())
        return None

    async def begin_run(self, session: AsyncSession, name: str, due_at: datetime) -> bool:
        """Record a time of a schedule; return False if another process has done so."""
        schedules = self._queue.tables.schedules
        begun = (
            update(schedules)
            .where(schedules.c.name == name, schedules.c.last_due < due_at)
            .values(last_due=due_at)
            .returning(schedules.c.name)
        )
        return (await session.execute(begun)).first() is not None

    async def records(
        self, session: AsyncSession, *, state: State | None, name: str | None, limit: int
    ) -> list[JobRecord]:
        """Return the newest jobs, of a state and a name or all."""
        columns = self._queue.tables.jobs.c
        found: Select[Any] = select(
            columns.id,
            columns.name,
            columns.state,
            columns.attempts,
            columns.due_at,
            columns.created_at,
            columns.finished_at,
            columns.error,
        )
        if state is not None:
            found = found.where(columns.state == state)
        if name is not None:
            found = found.where(columns.name == name)
        rows = await session.execute(found.order_by(columns.id.desc()).limit(limit))
        return [JobRecord(*row) for row in rows]

    async def requeue(self, session: AsyncSession, job_id: int) -> bool:
        """Execute a failed job again, with all its attempts; return whether there is one with this id."""
        columns = self._queue.tables.jobs.c
        again = (
            update(self._queue.tables.jobs)
            .where(columns.id == job_id, columns.state == "failed")
            .values(state="queued", attempts=0, due_at=self._queue.now, finished_at=None, worker=None)
        )
        return (await session.execute(again.returning(columns.id))).first() is not None

    async def discard(self, session: AsyncSession, job_id: int) -> bool:
        """Delete a job that is not being executed; return whether there is one with this id."""
        columns = self._queue.tables.jobs.c
        gone = delete(self._queue.tables.jobs).where(columns.id == job_id, columns.state != "running")
        return (await session.execute(gone.returning(columns.id))).first() is not None

    def is_old(self, retention: timedelta) -> Any:
        """Return the condition of jobs whose retention is over."""
        return self._queue.tables.jobs.c.finished_at <= self._queue.later(-retention.total_seconds())

    def is_free(self) -> Any:
        """Return the condition of keys that are no longer taken."""
        return self._queue.tables.keys.c.until <= self._queue.now
