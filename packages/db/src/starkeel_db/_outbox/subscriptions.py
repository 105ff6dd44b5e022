"""Those who follow events as they happen, whichever process they happen in."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import structlog
from opentelemetry.trace import Link, SpanKind, get_current_span, get_tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import Table
from sqlalchemy.exc import SQLAlchemyError

from .._base.errors import DatabaseUnavailable
from .._plugin import DatabasePlugin
from .table import Event, events_after, last_position

log = structlog.get_logger(__name__)

_ASK_EVERY_S: Final = 0.2
"""Seconds until an event of another process is seen; one of this process is seen at once."""
_PAUSE_S: Final = 1.0
_ASK_S: Final = 2.0
_MOST_UNREAD: Final = 500
_HEADER: Final = "traceparent"
_propagator: Final = TraceContextTextMapPropagator()


class Notifier:
    """Rung by who has news, waited for by those who want to know; rings in one process only."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def notify_all(self) -> None:
        """Wake everybody up who waits."""
        self._event.set()
        self._event = anyio.Event()

    async def wait(self, *, at_most_s: float) -> None:
        """Wait until it rings.

        Args:
            at_most_s: Seconds after which to go on anyway.
        """
        with anyio.move_on_after(at_most_s):
            await self._event.wait()


def current_traceparent() -> str | None:
    """The current span as W3C's `traceparent` has it; None without one."""
    carrier: dict[str, str] = {}
    # Not what the process propagates otherwise: this is kept, and read by those who come later.
    _propagator.inject(carrier)
    return carrier.get(_HEADER)


def record_receipt(event: Event) -> None:
    """Record that an event was handed to somebody: a span of theirs, linked to where the event comes from.

    A link and no parent: what happened may be over for hours, and many are told of it.
    """
    if event.traceparent is None or not get_current_span().is_recording():
        return
    origin = get_current_span(_propagator.extract({_HEADER: event.traceparent})).get_span_context()
    get_tracer("starkeel_db").start_span(
        f"receive {event.kind}",
        kind=SpanKind.CONSUMER,
        attributes={
            "messaging.operation.name": "receive",
            "messaging.operation.type": "receive",
            "messaging.destination.name": "outbox",
            "messaging.message.id": str(event.position),
        },
        links=[Link(origin)] if origin.is_valid else [],
    ).end()


class Subscription:
    """One who follows the events of a key.

    Args:
        key: Which.
        seen: Position of the last event that it knows.
        notifier: Rung when there is room again.
    """

    def __init__(self, key: str, *, seen: int, notifier: Notifier) -> None:
        self.key = key
        self.seen = seen
        self._notifier = notifier
        self._unread: asyncio.Queue[Event] = asyncio.Queue()

    @property
    def has_room(self) -> bool:
        """Whether more may be read for it: a slow one costs a bounded amount of memory, and loses nothing."""
        return self._unread.qsize() < _MOST_UNREAD

    async def next(self) -> Event:
        """Wait for the next event; none is lost when the wait is cancelled."""
        was_full = not self.has_room
        event = await self._unread.get()
        if was_full:
            self._notifier.notify_all()
        record_receipt(event)
        return event

    def tell(self, event: Event) -> None:
        """Hand an event over, unless it is known already."""
        if event.position > self.seen:
            self._unread.put_nowait(event)
            self.seen = event.position


Follower = Subscription
"""Former name of `Subscription`."""


class Subscriptions:
    """All of one process, who ask together.

    Args:
        database: Where the events are.
        table: The outbox.
        notifier: Rung when this process has committed an event.
    """

    def __init__(self, database: DatabasePlugin, table: Table, notifier: Notifier) -> None:
        self._database = database
        self._table = table
        self._notifier = notifier
        self._all: set[Subscription] = set()

    @asynccontextmanager
    async def following(self, key: str, *, after: int | None) -> AsyncGenerator[Subscription]:
        """Follow a key's events.

        Args:
            key: Which.
            after: Position of the last event that is known; None for what happens from now on.

        Raises:
            DatabaseUnavailable: It cannot be found out where `now` is.
        """
        if after is None:
            async with self._database.session(reads_only=True) as session:
                after = await last_position(session, self._table, key)
        subscription = Subscription(key, seen=after, notifier=self._notifier)
        self._all.add(subscription)
        self._notifier.notify_all()
        try:
            yield subscription
        finally:
            self._all.discard(subscription)

    async def run(self) -> None:
        """Ask for news until cancelled."""
        is_away = False
        while True:
            await self._notifier.wait(at_most_s=_ASK_EVERY_S)
            try:
                while self._all and await self._ask_undisturbed():
                    await anyio.lowlevel.checkpoint()
            except (DatabaseUnavailable, SQLAlchemyError) as error:
                if not is_away:
                    log.warning("events interrupted", reason=getattr(error, "reason", type(error).__name__))
                is_away = True
                await anyio.sleep(_PAUSE_S)
            else:
                if is_away:
                    log.info("events resumed")
                is_away = False

    async def _ask_undisturbed(self) -> bool:
        # A stop waits for the answer instead of abandoning a connection in the middle of a statement.
        with anyio.move_on_after(_ASK_S, shield=True):
            return await self._ask()
        return False

    async def _ask(self) -> bool:
        """Tell everybody what is new; whether there may be more."""
        asking = [subscription for subscription in self._all if subscription.has_room]
        seen: dict[str, int] = {}
        for subscription in asking:
            seen[subscription.key] = min(subscription.seen, seen.get(subscription.key, subscription.seen))
        if not seen:
            return False
        async with self._database.session(reads_only=True) as session:
            events = await events_after(session, seen)
        by_key: dict[str, list[Subscription]] = {}
        for subscription in asking:
            by_key.setdefault(subscription.key, []).append(subscription)
        for event in events:
            for subscription in by_key[event.key]:
                subscription.tell(event)
        return bool(events)
