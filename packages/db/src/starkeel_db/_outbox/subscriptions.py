"""Subscriptions to events of all processes: one background task polls the table for all subscribers."""

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import structlog
from opentelemetry.trace import Link, SpanKind, get_current_span, get_tracer
from sqlalchemy import Table, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from .._base.errors import DatabaseUnavailable
from .._plugin import DatabasePlugin
from .._retention import shielded
from .._session.unit_of_work import is_postgres
from .writer import TRACEPARENT, Event, Notifier, propagator

log = structlog.get_logger(__name__)

_POLL_EVERY_S: Final = 0.2
"""Maximum delay of an event of another process; events of the same process arrive at once."""
_PAUSE_S: Final = 1.0
_POLL_S: Final = 2.0
_MAX_QUEUED: Final = 500
_EVENTS: Final = "SELECT o.position, o.key, o.kind, o.payload, o.traceparent FROM outbox AS o JOIN "
_REST: Final = " ORDER BY o.position LIMIT 1000"
_ON_POSTGRES: Final = text(
    f"{_EVENTS} unnest(CAST(:keys AS text[]), CAST(:seen AS bigint[])) AS w(key, seen)"
    f" ON o.key = w.key AND o.position > w.seen {_REST}"
)
_ON_SQLITE: Final = text(
    f"{_EVENTS} json_each(:seen) AS w"
    f" ON o.key = json_extract(w.value, '$[0]') AND o.position > json_extract(w.value, '$[1]') {_REST}"
)


def _record_receipt(event: Event) -> None:
    """Record a span for the receipt of an event, linked to the span in which the event happened.

    A link and not a parent: the event may be hours old, and many subscribers receive it.
    """
    if event.traceparent is None or not get_current_span().is_recording():
        return
    origin = get_current_span(propagator.extract({TRACEPARENT: event.traceparent})).get_span_context()
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
    """Subscription to the events of a key.

    `seen` is the position of the last known event; `notifier` is notified when the queue has room again.
    """

    def __init__(self, key: str, *, seen: int, notifier: Notifier) -> None:
        self.key = key
        self.seen = seen
        self._notifier = notifier
        self._queue: asyncio.Queue[Event] = asyncio.Queue()

    @property
    def has_room(self) -> bool:
        """Whether more events may be read; a slow subscriber uses bounded memory and loses no event."""
        return self._queue.qsize() < _MAX_QUEUED

    async def next(self) -> Event:
        """Wait for the next event; cancelling the wait loses no event."""
        was_full = not self.has_room
        event = await self._queue.get()
        if was_full:
            self._notifier.notify_all()
        _record_receipt(event)
        return event

    def put(self, event: Event) -> None:
        """Queue an event, unless it is already known."""
        if event.position > self.seen:
            self._queue.put_nowait(event)
            self.seen = event.position


class Subscriptions:
    """All subscriptions of a process, which share their queries.

    `notifier` is notified when this process has committed an event.
    """

    def __init__(self, database: DatabasePlugin, table: Table, notifier: Notifier) -> None:
        self._database = database
        self._table = table
        self._notifier = notifier
        self._all: set[Subscription] = set()
        self._subscribed = Notifier()

    @asynccontextmanager
    async def following(self, key: str, *, after: int | None) -> AsyncGenerator[Subscription]:
        """Subscribe to the events of a key; see `OutboxPlugin.following`."""
        if after is None:
            async with self._database.session(reads_only=True) as session:
                columns = self._table.c
                last = select(func.max(columns.position)).where(columns.key == key)
                after = await session.scalar(last) or 0
        subscription = Subscription(key, seen=after, notifier=self._notifier)
        self._all.add(subscription)
        self._subscribed.notify_all()
        self._notifier.notify_all()
        try:
            yield subscription
        finally:
            self._all.discard(subscription)

    async def run(self) -> None:
        """Poll for events until cancelled."""
        is_away = False
        while True:
            if self._all:
                await self._notifier.wait(timeout_s=_POLL_EVERY_S)
            else:
                # No commit wakes this task while there is no subscription.
                await self._subscribed.wait(timeout_s=math.inf)
            try:
                # A stop must not abandon a connection in the middle of a statement.
                while await shielded(self._poll, within_s=_POLL_S):
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

    async def _poll(self) -> bool:
        """Deliver new events; return whether there may be more."""
        by_key: defaultdict[str, list[Subscription]] = defaultdict(list)
        for subscription in self._all:
            if subscription.has_room:
                by_key[subscription.key].append(subscription)
        if not by_key:
            return False
        seen = {key: min(each.seen for each in subscriptions) for key, subscriptions in by_key.items()}
        async with self._database.session(reads_only=True) as session:
            if is_postgres(session):
                lists = {"keys": list(seen), "seen": list(seen.values())}
                rows = await session.execute(_ON_POSTGRES, lists)
            else:
                rows = await session.execute(_ON_SQLITE, {"seen": json.dumps(list(seen.items()))})
            events = [Event(*row) for row in rows]
        for event in events:
            for subscription in by_key[event.key]:
                subscription.put(event)
        return bool(events)
