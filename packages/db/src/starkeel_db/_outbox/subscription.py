"""A subscription to the events of a key."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import anyio
from opentelemetry.trace import Link, SpanKind, get_current_span, get_tracer

from .writer import TRACEPARENT, Event, propagator


class Subscription:
    """Subscription to the events of a key.

    Args:
        key: The key.
        seen: Position of the last known event.
        on_taken: Called when all queued events are taken.
    """

    def __init__(self, key: str, *, seen: int, on_taken: Callable[[], None]) -> None:
        self.key = key
        self.seen = seen
        self._on_taken = on_taken
        self._queue: asyncio.Queue[Event] = asyncio.Queue()

    @property
    def queued(self) -> int:
        """Number of events that were read and not taken yet."""
        return self._queue.qsize()

    async def next(self) -> Event:
        """Wait for the next event; cancelling the wait loses no event."""
        if self._queue.qsize():
            # Taking the events of a page one after the other must not keep other tasks waiting.
            await anyio.lowlevel.checkpoint()
        event = await self._queue.get()
        if not self._queue.qsize():
            self._on_taken()
        _record_receipt(event)
        return event

    def put(self, events: Iterable[Event]) -> None:
        """Queue events that are not known yet, in their order."""
        for event in events:
            if event.position > self.seen:
                self._queue.put_nowait(event)
                self.seen = event.position

    def put_gap(self, gap: Event, page: Sequence[Event]) -> None:
        """Queue an event of kind `GAP`, before the first event of the page that follows it."""
        if page:
            gap = gap._replace(position=min(gap.position, page[0].position - 1))
        self._queue.put_nowait(gap)
        self.seen = gap.position


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
