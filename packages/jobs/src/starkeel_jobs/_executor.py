"""Executes one job: its unit of work, its span, and the record of its result."""

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import structlog
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from starkeel_db import CommitRefusedError, DatabasePlugin, DatabaseUnavailable

from ._claim import Claim
from ._definition import InvalidArgumentsError, Job, JobContext
from ._enqueuing import TRACEPARENT, propagator
from ._metrics import Result, job_metrics
from ._outage import AWAY, completed, log_failure
from ._queue import JobQueue
from ._successes import Successes

log = structlog.get_logger(__name__)

_TRACEBACK_LINES: Final = 20


class LostJobError(Exception):
    """Another process has taken over the job, since this one seemed dead; its unit of work is rolled back."""


class JobExecutor:
    """Executes claimed jobs.

    Attributes:
        lost: Ids of jobs that another process has taken over, and whose tasks are cancelled.
        is_stopping: Whether a cancelled job is given back.
        recording: Number of jobs whose functions have ended and whose successes are being recorded.
        on_recording: Called when `recording` has grown: another job may begin.
    """

    def __init__(
        self,
        database: DatabasePlugin,
        queue: JobQueue,
        jobs: Mapping[str, Job[Any]],
        resources: Sequence[object],
    ) -> None:
        self._database = database
        self._queue = queue
        self._jobs = jobs
        self._resources = resources
        self._metrics = job_metrics()
        self._tracer = trace.get_tracer("starkeel_jobs")
        self._successes = Successes(database, queue, lambda: self.is_stopping)
        self.lost: set[int] = set()
        self.is_stopping = False
        self.recording = 0
        self.on_recording: Callable[[], None] = lambda: None

    async def execute(self, claim: Claim) -> None:
        """Execute a job and record its result."""
        job = self._jobs[claim.name]
        began = time.monotonic()
        with self._observed(claim) as span:
            result = await self._attempt(job, claim)
            if result in {"retried", "failed"}:
                span.set_status(Status(StatusCode.ERROR))
            self._count(claim, result, time.monotonic() - began)

    async def execute_together(self, claims: Sequence[Claim]) -> list[Claim]:
        """Execute jobs of one name in one unit of work; return those to execute in units of their own."""
        try:
            seconds = await self._perform_together(claims)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not (self.is_stopping or any(claim.job_id in self.lost for claim in claims)):
                raise
            task.uncancel()
            if not self.is_stopping:
                return list(claims)
            for claim in claims:
                await self._give_back(claim)
                self._metrics.results.labels(job=claim.name, result="given back").inc()
            return []
        except Exception as error:  # noqa: BLE001 - recorded for the job that fails in its own unit of work
            log.info("jobs rolled back together", job=claims[0].name, error=type(error).__name__)
            return list(claims)
        for claim, each_s in zip(claims, seconds, strict=True):
            with structlog.contextvars.bound_contextvars(**_bound(claim)):
                self._count(claim, "succeeded", each_s)
        return []

    async def _perform_together(self, claims: Sequence[Claim]) -> list[float]:
        """Execute jobs one after another, and commit them with their successes; return their seconds."""
        job, seconds = self._jobs[claims[0].name], []
        async with self._database.lazy_session() as lazy:
            for claim in claims:
                began = time.monotonic()
                with self._observed(claim):
                    context = JobContext(lazy, claim.job_id, claim.attempt, self._resources)
                    async with asyncio.timeout(job.timeout_s):
                        await job.handler(context, **job.decode(claim.arguments))
                seconds.append(time.monotonic() - began)
            if len(await self._queue.succeed_all(lazy.get(), claims)) < len(claims):
                raise LostJobError
        return seconds

    def _count(self, claim: Claim, result: Result, seconds: float) -> None:
        if result == "succeeded":
            log.info("job succeeded", duration_ms=round(seconds * 1000, 1))
        self._metrics.note(claim.name, result, seconds)

    @contextmanager
    def _observed(self, claim: Claim) -> Iterator[Span]:
        """Bind the log lines of a job, and open its span."""
        with (
            structlog.contextvars.bound_contextvars(**_bound(claim)),
            self._tracer.start_as_current_span(
                f"process {claim.name}",
                kind=SpanKind.CONSUMER,
                links=_links(claim),
                attributes={
                    "messaging.system": "starkeel_jobs",
                    "messaging.operation.type": "process",
                    "messaging.operation.name": "process",
                    "messaging.destination.name": claim.name,
                    "messaging.message.id": str(claim.job_id),
                },
                # Messages of exceptions may contain data.
                record_exception=False,
                set_status_on_exception=False,
            ) as span,
        ):
            yield span

    async def _attempt(self, job: Job[Any], claim: Claim) -> Result:
        if claim.attempt > job.attempts:
            # Each attempt ended with its process, or the number of attempts was reduced.
            return await self._record_failure(job, claim, "the process ended during each attempt")
        try:
            async with asyncio.timeout(job.timeout_s) as limit:
                is_recorded = await self._perform(job, claim)
        except (LostJobError, CommitRefusedError):
            log.warning("job lost", reason="another process has taken it over")
            return "lost"
        except asyncio.CancelledError:
            if claim.job_id in self.lost:
                log.warning("job lost", reason="another process has taken it over")
                return "lost"
            if not self.is_stopping:
                raise
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            await self._give_back(claim)
            return "given back"
        except DatabaseUnavailable as error:
            # The job is not to blame: this attempt does not count.
            log.warning("job interrupted", reason=error.reason)
            pause_s = AWAY.pause_s(claim.attempt)
            await self._give_back(claim, pause_s=pause_s)
            return "given back"
        except Exception as error:  # noqa: BLE001 - recorded, and logged with its stack trace
            if isinstance(error, TimeoutError) and limit.expired():
                return await self._record_failure(job, claim, f"timed out after {job.timeout_s:g} s")
            # A message of this error contains no data.
            reason = str(error) if isinstance(error, InvalidArgumentsError) else _describe(error)
            return await self._record_failure(job, claim, reason, error)
        return "succeeded" if is_recorded else await self._record_success(claim)

    async def _perform(self, job: Job[Any], claim: Claim) -> bool:
        """Execute a job; return whether its success is recorded, as a part of its unit of work."""
        arguments = job.decode(claim.arguments)
        async with self._database.lazy_session() as lazy:
            context = JobContext(lazy, claim.job_id, claim.attempt, self._resources)
            await job.handler(context, **arguments)
            session = lazy.made
            if session is None or not session.in_transaction():
                # The job has not used it: its success needs no transaction of its own.
                return False
            # In the unit of work of the job: its changes and its success are committed together.
            if not self._queue.is_postgres:
                if not await self._queue.succeed(session, claim):
                    raise LostJobError
                return True
            last = await self._queue.succeed_with_commit(session, claim)
        # Where the session has written nothing, there was no commit.
        return last.is_sent

    async def _record_success(self, claim: Claim) -> Result:
        recorded = self._successes.record(claim)
        self.recording += 1
        self.on_recording()
        try:
            is_mine = await asyncio.shield(recorded)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not (self.is_stopping or claim.job_id in self.lost):
                raise
            # The job is done; giving it back would repeat it.
            task.uncancel()
            is_mine = await recorded
        finally:
            self.recording -= 1
        if not is_mine:
            log.warning("job lost", reason="its success was not recorded in time")
        return "succeeded" if is_mine else "lost"

    async def _record_failure(
        self, job: Job[Any], claim: Claim, reason: str, error: Exception | None = None
    ) -> Result:
        if claim.attempt >= job.attempts or isinstance(error, InvalidArgumentsError):
            log.error("job failed", reason=reason.splitlines()[0], exc_info=error)
            is_recorded = await self._record(lambda session: self._queue.fail(session, claim, error=reason))
            return "failed" if is_recorded else "lost"
        pause_s = job.backoff.pause_s(claim.attempt - 1)
        log.warning("job retried", reason=reason.splitlines()[0], pause_s=round(pause_s, 1), exc_info=error)
        is_recorded = await self._record(
            lambda session: self._queue.retry(session, claim, error=reason, pause_s=pause_s)
        )
        return "retried" if is_recorded else "lost"

    async def _give_back(self, claim: Claim, *, pause_s: float = 0.0) -> None:
        await self._record(lambda session: self._queue.give_back(session, claim, pause_s=pause_s))

    async def _record(self, write: Callable[[Any], Awaitable[bool]]) -> bool:
        """Record a result, again and again while the database is away; return False for a lost job."""

        async def once() -> bool:
            async with self._database.session() as session:
                return await write(session)

        failures = 0
        while True:
            try:
                return await completed(once)
            except Exception as error:  # noqa: BLE001 - the database may be back later
                log_failure("result of job not recorded", error)
                if self.is_stopping:
                    # Without a sign of life of this process, another one takes the job over.
                    return False
                failures += 1
                await asyncio.sleep(AWAY.pause_s(failures - 1))


def _bound(claim: Claim) -> dict[str, Any]:
    bound = {"job": claim.name, "job_id": claim.job_id, "attempt": claim.attempt}
    return bound if claim.request_id is None else bound | {"request_id": claim.request_id}


def _links(claim: Claim) -> list[Link]:
    """Return a link to the span in which a job was enqueued."""
    if claim.traceparent is None:
        return []
    context = propagator.extract({TRACEPARENT: claim.traceparent})
    producer = trace.get_current_span(context).get_span_context()
    return [Link(producer)] if producer.is_valid else []


def _describe(error: Exception) -> str:
    """Return the type of an error and where it was raised, without its message, which may contain data."""
    frames = traceback.extract_tb(error.__traceback__)[-_TRACEBACK_LINES:]
    places = [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in reversed(frames)]
    kind = type(error)
    return "\n".join([f"{kind.__module__}.{kind.__qualname__}", *places])
