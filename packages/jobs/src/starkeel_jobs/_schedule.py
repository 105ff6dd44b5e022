"""Schedules: jobs that are enqueued at fixed times, once for all processes of a service."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim
from starkeel_config import Backoff

from ._cron import cron_problem
from ._definition import Job, JobContext, job

CATCH_UP: Final = timedelta(hours=1)
"""Time after which a missed run is not made up for, by default."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Times at which a job is enqueued.

    Attributes:
        job: The job; it has no arguments.
        cron: Expression in the format of cron(5), with five fields.
        zone: Time zone of the expression.
        catch_up: Time after which a run that was missed, since no process was running, is left out.
    """

    job: Job[[]]
    cron: str
    zone: ZoneInfo
    catch_up: timedelta

    def latest(self, now: datetime) -> datetime:
        """Return the last time of the schedule that is not after `now`."""
        # Going backwards, CronSim excludes the time that it begins with.
        local = (now + timedelta(microseconds=1)).astimezone(self.zone)
        return next(CronSim(self.cron, local, reverse=True)).astimezone(UTC)

    def following(self, now: datetime) -> datetime:
        """Return the first time of the schedule after `now`."""
        return next(CronSim(self.cron, now.astimezone(self.zone))).astimezone(UTC)


def schedule(
    cron: str,
    *,
    timezone: str = "UTC",
    name: str | None = None,
    attempts: int = 10,
    timeout_s: float = 600.0,
    backoff: Backoff | None = None,
    catch_up: timedelta = CATCH_UP,
) -> Callable[[Callable[[JobContext], Awaitable[None]]], Schedule]:
    """Execute a coroutine function, whose only parameter is a `JobContext`, at the times of an expression.

    Each run is a job, and so executed once for all processes, and again after a failure. Of several missed
    runs only the last one is made up for. Where clocks are set forward, runs of the missing hour take place
    right after it; where they are set back, runs at fixed hours do not take place twice (Debian's cron(8)).

    Args:
        cron: Minute, hour, day of month, month and day of week.
        timezone: Name of the time zone of the expression in the IANA database.
        name: Name of the job; by default that of the function.
        attempts: Maximum number of attempts of a run.
        timeout_s: Seconds after which an attempt is cancelled.
        backoff: Pause between attempts; by default from a second to an hour, with jitter.
        catch_up: Age of a missed run from which it is left out.

    Raises:
        ValueError: The expression or the time zone is invalid.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"schedule {cron!r}: {timezone!r} is not an IANA time zone") from error
    if problem := cron_problem(cron):
        raise ValueError(f"schedule {cron!r}: {problem}")

    def define(handler: Callable[[JobContext], Awaitable[None]]) -> Schedule:
        made = job(name=name, attempts=attempts, timeout_s=timeout_s, backoff=backoff)(handler)
        if made.arguments.__struct_fields__:
            raise TypeError(f"schedule {made.name}: its function has parameters besides the JobContext")
        return Schedule(made, cron, zone, catch_up)

    return define
