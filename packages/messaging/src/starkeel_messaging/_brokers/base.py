"""The operations of a broker: append events to a topic, and return those after a position."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Final, NamedTuple, Protocol

MAX_READ_BYTES: Final = 2_000_000
"""Size after which a read ends, whatever its limit: an event, and the job that handles it, exist several
times in the memory of a process."""


class Outgoing(NamedTuple):
    """An event to append.

    Attributes:
        event_id: Its id, the same if it is appended again.
        key: Ordering key.
        body: A CloudEvent as JSON.
    """

    event_id: str
    key: str
    body: bytes


class Entry(NamedTuple):
    """An event in a topic.

    Attributes:
        position: Its position, from which the reading goes on.
        body: A CloudEvent as JSON, or what another program has written.
    """

    position: str
    body: bytes


class Batch(NamedTuple):
    """The next events after a position.

    Attributes:
        entries: The events.
        has_gap: Whether the broker deleted events after the position, or among these, before they were read.
    """

    entries: Sequence[Entry]
    has_gap: bool


class Lag(NamedTuple):
    """Events of a topic that are not received yet.

    Attributes:
        waiting: Their number.
        oldest_s: Seconds since the oldest of them was published.
        has_gap: Whether none is left of the events after the position, because the broker deleted them.
    """

    waiting: int
    oldest_s: float
    has_gap: bool = False


class BrokerClient(Protocol):
    """A broker. All methods raise `BrokerUnavailableError` when it does not answer."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Keep connections open."""

    async def append(self, topic: str, events: Sequence[Outgoing]) -> None:
        """Append events; when this returns, the broker has accepted them.

        When it raises, it may have accepted some, but none after one with the same key that it has not.
        """

    async def read(self, topic: str, *, after: str, limit: int, wait_s: float) -> Batch:
        """Return the next events after a position, and wait at most `wait_s` seconds for the first.

        Several events have together about `MAX_READ_BYTES` at most.
        """

    async def lag(self, topic: str, *, after: str) -> Lag:
        """Measure what is not received yet, without reading the events."""

    async def identity(self, topic: str, *, is_own: bool) -> str:
        """Return what changes when another server, which may lack the last events, takes the place.

        Args:
            topic: The topic of which events may be missing.
            is_own: Whether this service publishes it; it is created if necessary.

        Returns:
            The identity; empty if it is not known, such as before the first event.
        """

    def rewound(self, position: str, *, seconds: float) -> str:
        """Return a position before another one, by about `seconds` of events."""

    async def before(self, topic: str, start: datetime | str) -> str:
        """Return the position after which the events from a time or a position on follow.

        Raises:
            ValueError: The position is malformed.
        """

    def order(self, position: str) -> tuple[int, ...]:
        """Return what orders positions of a topic."""


def malformed_position(position: str) -> ValueError:
    """Return the error of a position that is none."""
    return ValueError(f"{position!r} is no position in the topic, nor a time like 2026-01-31T12:00:00Z")
