import asyncio
from datetime import timedelta
from typing import Final

import msgspec
from litestar import Litestar, post
from litestar.di import NamedDependency
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_config import Backoff, ServiceSettings
from starkeel_db import DatabaseSettings, OutboxPlugin
from starkeel_jobs import JobContext, JobSettings, JobsPlugin, job, schedule
from starkeel_messaging import EventContext, EventType, MessagingPlugin, MessagingSettings, on_event
from starkeel_observability import ObservabilitySettings
from starkeel_server import ServerSettings, build

from . import SERVICE

BACKOFF_S: Final = 5.0
"""Pause before the poison job is tried again."""


class SampleSettings(ServiceSettings, frozen=True, kw_only=True):
    observability: ObservabilitySettings
    server: ServerSettings
    database: DatabaseSettings
    jobs: JobSettings
    messaging: MessagingSettings


async def write(context: JobContext, note: str) -> None:
    """Record an effect in the unit of work of the job."""
    await context.session.execute(
        text("INSERT INTO effects (job_id, note) VALUES (:job_id, :note)"),
        {"job_id": context.job_id, "note": note},
    )


@job(timeout_s=30)
async def note(context: JobContext, *, what: str, pause_s: float) -> None:
    await write(context, what)
    await asyncio.sleep(pause_s)


@job(attempts=1, timeout_s=30)
async def note_in_one_attempt(context: JobContext, *, what: str, pause_s: float) -> None:
    await write(context, what)
    await asyncio.sleep(pause_s)


@job(attempts=3, backoff=Backoff(base_s=BACKOFF_S, cap_s=BACKOFF_S, jitter=0.0))
async def poison(context: JobContext) -> None:
    await write(context, "poison")
    raise ValueError


class Noted(msgspec.Struct):
    number: int


NOTED = EventType("note.made", Noted)
KEYS: Final = 8


@on_event("work_sample", NOTED, attempts=25, timeout_s=30)
async def hear(context: EventContext, event: Noted) -> None:
    await context.session.execute(
        text("INSERT INTO event_effects (key, number) VALUES (:key, :number)"),
        {"key": context.key, "number": event.number},
    )
    # Some take long enough to be killed meanwhile.
    await asyncio.sleep(0.1 if event.number % 50 == 0 else 0.001)


@schedule("* * * * *")
async def tick(context: JobContext) -> None:
    await write(context, "tick")
    # Long enough to be killed meanwhile.
    await asyncio.sleep(3.0)


@post("/notes")
async def notes(
    session: NamedDependency[AsyncSession],
    jobs: NamedDependency[JobsPlugin],
    first: int,
    count: int,
    pause_s: float,
    attempts: int,
    poisons: int,
) -> None:
    """Enqueue poison jobs and then numbered ones, in one unit of work; every tenth takes `pause_s`."""
    for _ in range(poisons):
        await jobs.enqueue(session, poison)
    enqueued = note_in_one_attempt if attempts == 1 else note
    for number in range(first, first + count):
        pause = pause_s if number % 10 == 0 else min(pause_s, 0.02)
        await jobs.enqueue(session, enqueued, what=str(number), pause_s=pause)


@post("/events")
async def events(
    session: NamedDependency[AsyncSession],
    messaging: NamedDependency[MessagingPlugin],
    first: int,
    count: int,
) -> None:
    """Publish numbered events in one unit of work; they have some keys in turn."""
    for number in range(first, first + count):
        await messaging.publish(session, NOTED, Noted(number), key=f"key {number % KEYS}")


def create_app(settings: SampleSettings) -> Litestar:
    jobs = JobsPlugin(settings.jobs, jobs=[note, note_in_one_attempt, poison, tick])
    outbox = OutboxPlugin(retention=timedelta(hours=1))
    messaging = MessagingPlugin(settings.messaging, service=SERVICE.name, publishes=[NOTED], handlers=[hear])
    return build(SERVICE, settings, handlers=[notes, events], plugins=[outbox, jobs, messaging])
