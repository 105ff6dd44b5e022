"""Publishing of claimed events to a broker, several at once where it accepts that, in order for each key."""

import time
from collections.abc import Iterator, Sequence
from typing import Final, Protocol, runtime_checkable

import anyio

from .writer import Event

PUBLISH_S: Final = 2.0
"""Seconds in which a broker must accept an event, or several at once."""
_ROUND_S: Final = 2.0
_AT_ONCE_BYTES: Final = 1_000_000
"""Size of the events that are published at once; a single one may be larger."""


class BrokerUnavailableError(Exception):
    """The broker is unreachable or accepts nothing at the moment, whatever the event."""


class Broker(Protocol):
    """Target of a relay. An exception other than `BrokerUnavailableError` means that the event is refused.

    One that has a method `async publish_all(events: Sequence[Event]) -> None` receives up to a hundred events
    by it. When it raises, they are published one by one, also those that it has accepted: it must not accept
    an event after one with the same key that it has not accepted.

    One that has a method `async identity() -> str` receives events again when the identity changes: another
    server, such as a promoted replica, may lack the last ones. These are the events since the identity was
    last confirmed, and of five minutes before. The service's migrations must then create the table
    `outbox_broker`.
    """

    async def publish(self, event: Event) -> None:
        """Publish an event; when this returns, the broker has accepted it."""

    async def close(self) -> None:
        """Close the connections."""


@runtime_checkable
class BatchBroker(Protocol):
    """A broker that accepts several events at once."""

    async def publish_all(self, events: Sequence[Event]) -> None:
        """Publish events; when this returns, the broker has accepted them."""


class Round:
    """The results of publishing claimed events.

    Attributes:
        published: Positions of the accepted events.
        refused: The refused events, each with its reason.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.published: list[int] = []
        self.refused: dict[Event, Exception] = {}
        self._waiting: set[str] = set()

    async def publish(self, events: Sequence[Event]) -> None:
        """Publish events, for at most two seconds; the rest is left for the next round.

        Raises:
            BrokerUnavailableError: The broker is unavailable; what was published before is in the results.
        """
        ends_at = time.monotonic() + _ROUND_S
        for chunk in (
            _chunks(events) if isinstance(self._broker, BatchBroker) else [[each] for each in events]
        ):
            if time.monotonic() >= ends_at:
                return
            due = [event for event in chunk if event.key not in self._waiting]
            if len(due) < 2 or not await self._publish_at_once(due):
                for event in due:
                    await self._publish_one(event)

    async def _publish_at_once(self, events: Sequence[Event]) -> bool:
        assert isinstance(self._broker, BatchBroker)
        try:
            with anyio.fail_after(PUBLISH_S):
                await self._broker.publish_all(events)
        except BrokerUnavailableError:
            raise
        except TimeoutError as error:
            raise BrokerUnavailableError("the broker does not answer") from error
        except Exception:  # noqa: BLE001 - concerns one of them
            return False
        self.published += [event.position for event in events]
        return True

    async def _publish_one(self, event: Event) -> None:
        if event.key in self._waiting:
            return
        try:
            with anyio.fail_after(PUBLISH_S):
                await self._broker.publish(event)
        except BrokerUnavailableError:
            raise
        except TimeoutError as error:
            raise BrokerUnavailableError("the broker does not answer") from error
        except Exception as error:  # noqa: BLE001 - concerns this event only
            self.refused[event] = error
            # Later events of the key wait for this one.
            self._waiting.add(event.key)
        else:
            self.published.append(event.position)


def _chunks(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Yield events in their order, as many together as may be published at once."""
    chunk: list[Event] = []
    size = 0
    for event in events:
        # UTF-8 has at most four bytes a character; most of JSON has one.
        if chunk and size + len(event.payload) > _AT_ONCE_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(event)
        size += len(event.payload)
    if chunk:
        yield chunk
