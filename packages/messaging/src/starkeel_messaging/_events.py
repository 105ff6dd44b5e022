"""Types of events, and the functions that handle them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_config import Backoff
from starkeel_jobs import InvalidArgumentsError, Job, JobContext, JobRequest, job

from ._cloud_event import CloudEvent

T = TypeVar("T")
R = TypeVar("R")

MAX_TYPE: Final = 64
"""Maximum number of characters of an event's type and key: they are columns of the outbox."""
_REMEMBERED: Final = timedelta(days=7)
"""Time for which an event that is received again is recognized."""


@dataclass(frozen=True, slots=True)
class EventType(Generic[T]):
    """A type of events: its name and the struct of its data.

    A consumer declares its own struct with the fields that it needs; other fields are ignored.

    Args:
        name: Name like `order.created`, the `type` of CloudEvents; at most 64 characters.
        data: A msgspec struct, or another type that msgspec encodes as JSON.

    Raises:
        ValueError: The name is empty or too long.
    """

    name: str
    data: type[T]

    def __post_init__(self) -> None:
        """Check the name."""
        if not 0 < len(self.name) <= MAX_TYPE:
            raise ValueError(f"the event type {self.name!r} has no name of at most {MAX_TYPE} characters")


class EventContext:
    """The first argument of a handler of events.

    Attributes:
        session: Session of the handler's unit of work. What is written with it is committed together with the
            record that the event is handled: it takes effect exactly once.
        event_id: Id of the event, unique within `source`.
        source: The service that published it, like `/services/orders`.
        key: Ordering key of the event.
        time: When it happened.
        attempt: Number of this attempt, from 1.
    """

    __slots__ = ("_job", "attempt", "event_id", "key", "session", "source", "time")

    def __init__(self, context: JobContext, event: "ReceivedEvent") -> None:
        self._job = context
        self.session: AsyncSession = context.session
        self.attempt = context.attempt
        self.event_id = event.id
        self.source = event.source
        self.key = event.key
        self.time = event.time

    def resource(self, kind: type[R]) -> R:
        """Return the object of a type that was passed to the `JobsPlugin` as one of its `resources`.

        Raises:
            LookupError: There is none, or there are several.
        """
        return self._job.resource(kind)


class ReceivedEvent(msgspec.Struct, frozen=True):
    """An event in the arguments of a job."""

    id: str
    source: str
    key: str | None
    time: datetime | None
    data: msgspec.Raw


Function = Callable[[EventContext, T], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHandler(Generic[T]):
    """A function that handles events of a type; the result of `@on_event`.

    Attributes:
        topic: Name of the service that publishes them.
        event_type: Their type.
        job: The job that executes the function.
    """

    topic: str
    event_type: EventType[T]
    job: Job[Any]

    def request(self, event: CloudEvent, *, run: str = "") -> JobRequest:
        """Return the job for an event; for one that was received before, it is not enqueued again.

        Args:
            event: The event.
            run: Id of a replay, which enqueues it once more.
        """
        received = ReceivedEvent(event.id, event.source, event.partitionkey, event.time, event.data)
        job = self.job.with_options(
            ordering_key=event.partitionkey,
            unique_for=_REMEMBERED,
            unique_key=f"{event.source}\0{event.id}" + (f"\0{run}" if run else ""),
        )
        return JobRequest(job, {"event": received}, event.traceparent, event.requestid)


def on_event(
    topic: str,
    event_type: EventType[T],
    *,
    name: str | None = None,
    attempts: int = 10,
    timeout_s: float = 60.0,
    backoff: Backoff | None = None,
    concurrency: int | None = None,
    batch: int = 1,
) -> Callable[[Function[T]], EventHandler[T]]:
    """Handle the events of a service with a coroutine function of an `EventContext` and the event's data.

    Each event is handled in a unit of work of its own, or with others where `batch` is given; those with the
    same key are handled in their order. An event whose data does not fit the type is kept as failed at once,
    without an attempt.

    Args:
        topic: Name of the service that publishes the events.
        event_type: Their type, with the fields that the function needs.
        name: Name of the job in the database; by default that of the function. Renaming the function then
            orphans the events that are not handled yet.
        attempts: Maximum number of attempts, the first one included; then the event is kept as failed.
        timeout_s: Seconds after which an attempt is cancelled.
        backoff: Pause between attempts; by default from a second to an hour, with jitter.
        concurrency: Maximum number of events that are handled at the same time, in all processes together.
        batch: Maximum number of events, of different keys, that share a unit of work: those that wait are
            handled one after another and committed at once. When one fails, all are rolled back, and each is
            handled again in a unit of work of its own.

    Raises:
        TypeError: The function is not a coroutine function.
        ValueError: An option is out of its range.
    """

    def define(function: Function[T]) -> EventHandler[T]:
        decoder = msgspec.json.Decoder(event_type.data)

        async def handle(context: JobContext, *, event: ReceivedEvent) -> None:
            try:
                data = decoder.decode(event.data)
            except msgspec.MsgspecError as error:
                raise InvalidArgumentsError(f"the data does not fit {event_type.name}: {error}") from None
            await function(EventContext(context, event), data)

        define_job = job(
            name=name or function.__name__,
            attempts=attempts,
            timeout_s=timeout_s,
            backoff=backoff,
            concurrency=concurrency,
            batch=batch,
        )
        return EventHandler(topic=topic, event_type=event_type, job=define_job(handle))

    return define


def handlers_by_type(handlers: Sequence[EventHandler[Any]]) -> dict[str, list[EventHandler[Any]]]:
    """Return the handlers of one topic by the names of their types."""
    found: dict[str, list[EventHandler[Any]]] = {}
    for handler in handlers:
        found.setdefault(handler.event_type.name, []).append(handler)
    return found
