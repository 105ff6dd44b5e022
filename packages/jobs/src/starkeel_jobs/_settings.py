"""Settings of background jobs, read from the environment."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta
from starkeel_config import Environment, Problem, Settings, Variable

from ._cron import cron_problem


class JobSettings(Settings, frozen=True, kw_only=True):
    """Background jobs and schedules."""

    concurrency: Annotated[int, Variable("JOBS_CONCURRENCY"), Meta(ge=1, le=1000)] = 10
    """Maximum number of jobs that one process executes at the same time."""

    heartbeat_s: Annotated[float, Variable("JOBS_HEARTBEAT_SECONDS"), Meta(ge=1, le=3600)] = 15.0
    """Seconds without a sign of life after which the jobs of a process are executed by another one."""

    retention_hours: Annotated[int, Variable("JOBS_RETENTION_HOURS"), Meta(ge=1, le=8760)] = 168
    """Hours for which succeeded and failed jobs are kept."""

    retention_schedule: Annotated[str, Variable("RETENTION_SCHEDULE"), Meta(min_length=1, max_length=100)] = (
        "17 3 * * *"
    )
    """Times in the format of cron(5), in UTC, at which rows whose time is over are deleted: jobs, events,
    idempotency keys."""

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Yield what is wrong with the times."""
        del environment
        if problem := cron_problem(self.retention_schedule):
            yield Problem("RETENTION_SCHEDULE", problem, "five fields such as `17 3 * * *`")
