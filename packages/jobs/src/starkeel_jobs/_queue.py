"""The queue of jobs: every statement on its tables.

Times are those of the database on PostgreSQL, so that processes with different clocks agree.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    Select,
    String,
    Update,
    and_,
    bindparam,
    exists,
    func,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import LastStatement, send_with_commit

from ._claim import LOST, SUCCEEDED, Claim
from ._definition import Job
from ._tables import JobTables


class JobQueue:
    """Statements on the tables of jobs, for one kind of database.

    Args:
        tables: The tables.
        is_postgres: Whether the database is PostgreSQL; SQLite has one writer at a time.
    """

    def __init__(self, tables: JobTables, *, is_postgres: bool) -> None:
        self.tables = tables
        self._jobs = tables.jobs
        self.is_postgres = is_postgres
        # Built once: that takes longer than their execution.
        self._claimed = self._claimed_statement()
        self._succeeded = self._succeeded_statement()

    @property
    def now(self) -> Any:
        """The current time, as an expression."""
        if self.is_postgres:
            return func.now()
        return bindparam(None, callable_=_utc_now, type_=self._jobs.c.due_at.type)

    def later(self, seconds: float) -> Any:
        """Return a time in some seconds, as an expression."""
        if self.is_postgres:
            return func.now() + timedelta(seconds=seconds)
        return literal(datetime.now(UTC) + timedelta(seconds=seconds), self._jobs.c.due_at.type)

    async def claim(
        self, session: AsyncSession, jobs: Collection[Job[Any]], *, worker: str, limit: int, free: int
    ) -> list[Claim]:
        """Claim due jobs, those of the highest priority first.

        Args:
            session: Session of the transaction.
            jobs: Jobs that may be claimed.
            worker: Name of the process.
            limit: Maximum number.
            free: Maximum number of those that have a limit among processes: they begin at once.
        """
        unlimited = [job for job in jobs if job.concurrency is None]
        limited = [job for job in jobs if job.concurrency is not None]
        if not limited:
            await self._without_transaction(session)
        claims: list[Claim] = []
        # First, because their number is limited: a backlog of the others would hold them back.
        for job in limited:
            if len(claims) < free and (room := await self._room(session, job)) > 0:
                claims += await self._claim(session, [job.name], worker, min(room, free - len(claims)))
        claims += await self._claim(session, [job.name for job in unlimited], worker, limit - len(claims))
        return sorted(claims, key=lambda claim: (claim.rank, claim.job_id))

    async def _without_transaction(self, session: AsyncSession) -> None:
        """Save the round trips of BEGIN and COMMIT for the only statement of a session."""
        if self.is_postgres:
            await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})

    async def _claim(
        self, session: AsyncSession, names: Sequence[str], worker: str, limit: int
    ) -> list[Claim]:
        if not names or limit <= 0:
            return []
        values = {"names": names, "claimed_by": worker, "most": limit}
        return [Claim(*row) for row in await session.execute(self._claimed, values)]

    def _claimed_statement(self) -> Any:
        columns = self._jobs.c
        due = (
            select(columns.id)
            .where(
                columns.state == "queued",
                columns.due_at <= self.now,
                self._has_name(),
                self._is_next(),
            )
            .order_by(columns.rank, columns.due_at, columns.id)
            .limit(bindparam("most", type_=Integer))
            .with_for_update(skip_locked=True)
        )
        return (
            update(self._jobs)
            .where(self._is_among(due))
            .values(
                state="running",
                worker=bindparam("claimed_by"),
                attempts=columns.attempts + 1,
                alive_at=self.now,
            )
            .returning(
                columns.id,
                columns.name,
                columns.arguments,
                columns.attempts,
                columns.rank,
                columns.worker,
                columns.traceparent,
                columns.request_id,
            )
        )

    def _has_name(self) -> ColumnElement[bool]:
        """Return the condition that a job has one of the given names."""
        if self.is_postgres:
            # One parameter, so that the text does not have to be built for each execution.
            return self._jobs.c.name == func.any(bindparam("names", type_=ARRAY(String)))
        return self._jobs.c.name.in_(bindparam("names", expanding=True))

    def _is_among(self, ids: Select[int]) -> ColumnElement[bool]:
        """Return the condition that a job is one of those of a query."""
        if self.is_postgres:
            # With IN it may join the query with all rows of the table.
            return self._jobs.c.id == func.any(func.array(ids.scalar_subquery()))
        return self._jobs.c.id.in_(ids)

    def _is_next(self) -> ColumnElement[bool]:
        """Return the condition that no job with the same name and ordering key comes before a job."""
        columns, other = self._jobs.c, self._jobs.alias("other")
        same = and_(other.c.ordering_key == columns.ordering_key, other.c.name == columns.name)
        is_running = exists().where(same, other.c.state == "running")
        is_older = exists().where(same, other.c.state == "queued", other.c.id < columns.id)
        return or_(columns.ordering_key.is_(None), and_(~is_running, ~is_older))

    async def _room(self, session: AsyncSession, job: Job[Any]) -> int:
        """Return how many more jobs of a name may execute; no other process claims them until the commit."""
        if self.is_postgres:
            number = int.from_bytes(
                blake2b(f"starkeel_jobs:{job.name}".encode(), digest_size=8).digest(), "big"
            )
            lock = select(func.pg_try_advisory_xact_lock(number - 2**63))
            if not await session.scalar(lock):
                return 0
        columns = self._jobs.c
        is_running = and_(columns.state == "running", columns.name == job.name)
        running = await session.scalar(select(func.count()).select_from(self._jobs).where(is_running)) or 0
        return (job.concurrency or 0) - running

    def _mine(self, claim: Claim) -> Update:
        columns = self._jobs.c
        return update(self._jobs).where(
            columns.id == claim.job_id,
            columns.state == "running",
            columns.worker == claim.worker,
            columns.attempts == claim.attempt,
        )

    async def _ended(self, session: AsyncSession, statement: Update) -> bool:
        return (await session.execute(statement.returning(self._jobs.c.id))).first() is not None

    def _succeeded_statement(self) -> Any:
        columns = self._jobs.c
        return (
            update(self._jobs)
            .where(
                columns.id == bindparam("job_id"),
                columns.state == "running",
                columns.worker == bindparam("claimed_by"),
                columns.attempts == bindparam("attempt"),
            )
            .values(state="succeeded", arguments="{}", finished_at=self.now, error=None)
            .returning(columns.id)
        )

    async def succeed(self, session: AsyncSession, claim: Claim) -> bool:
        """Record a success in the job's unit of work; return False if another process has taken it over."""
        values = {"job_id": claim.job_id, "claimed_by": claim.worker, "attempt": claim.attempt}
        return (await session.execute(self._succeeded, values)).first() is not None

    async def succeed_with_commit(self, session: AsyncSession, claim: Claim) -> LastStatement:
        """Record a success together with the commit of the job's unit of work on PostgreSQL.

        If another process has taken the job over, the commit fails with `CommitRefusedError`.
        """
        return await send_with_commit(session, claim.succeeded(), refusal=LOST)

    async def succeed_all(self, session: AsyncSession, claims: Sequence[Claim]) -> set[int]:
        """Record successes of jobs of one process; return the ids of those that it has not lost."""
        if not self.is_postgres:
            return {claim.job_id for claim in claims if await self.succeed(session, claim)}
        if not session.in_transaction():
            await self._without_transaction(session)
        ids, attempts = [claim.job_id for claim in claims], [claim.attempt for claim in claims]
        values = {"ids": ids, "attempts": attempts, "worker": claims[0].worker}
        return set((await session.scalars(SUCCEEDED, values)).all())

    async def retry(self, session: AsyncSession, claim: Claim, *, error: str, pause_s: float) -> bool:
        """Record a failed attempt; the job is executed again after a pause."""
        values = {"state": "queued", "worker": None, "due_at": self.later(pause_s), "error": error}
        return await self._ended(session, self._mine(claim).values(values))

    async def fail(self, session: AsyncSession, claim: Claim, *, error: str) -> bool:
        """Record the failure of the last attempt; the job is kept."""
        values = {"state": "failed", "finished_at": self.now, "error": error}
        return await self._ended(session, self._mine(claim).values(values))

    async def give_back(self, session: AsyncSession, claim: Claim, *, pause_s: float) -> bool:
        """Let any process execute a job from its beginning; this attempt does not count."""
        values = {"state": "queued", "worker": None, "attempts": claim.attempt - 1}
        if pause_s > 0:
            values["due_at"] = self.later(pause_s)
        return await self._ended(session, self._mine(claim).values(values))

    async def show_alive(self, session: AsyncSession, worker: str) -> set[int]:
        """Record that a process is alive; return the ids of the jobs that it executes."""
        columns = self._jobs.c
        alive = (
            update(self._jobs)
            .where(columns.state == "running", columns.worker == worker)
            .values(alive_at=self.now)
            .returning(columns.id)
        )
        return set((await session.scalars(alive)).all())

    async def give_back_unknown(self, session: AsyncSession, worker: str, ids: Collection[int]) -> None:
        """Queue jobs whose claim had no answer, such as when its connection was lost at the commit."""
        columns = self._jobs.c
        again = update(self._jobs).where(
            columns.id.in_(ids), columns.state == "running", columns.worker == worker
        )
        await session.execute(again.values(state="queued", worker=None, attempts=columns.attempts - 1))

    async def take_over(self, session: AsyncSession, *, heartbeat_s: float) -> list[int]:
        """Queue the jobs of processes that have shown no sign of life; return their ids."""
        columns = self._jobs.c
        silent = (
            select(columns.id)
            .where(columns.state == "running", columns.alive_at < self.later(-heartbeat_s))
            .with_for_update(skip_locked=True)
        )
        taken = (
            update(self._jobs)
            .where(self._is_among(silent))
            .values(state="queued", worker=None, due_at=self.now)
            .returning(columns.id)
        )
        return sorted((await session.scalars(taken)).all())


def _utc_now() -> datetime:
    return datetime.now(UTC)
