"""The broker of the outbox: publishes its events as CloudEvents."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from starkeel_db import Event

from ._brokers.base import BrokerClient, Outgoing
from ._cloud_event import CloudEvent, encode

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def source_of(service: str) -> str:
    """Return the `source` of a service's events."""
    return f"/services/{service}"


class Publisher:
    """Publishes the events of a service's outbox to its topic.

    Args:
        client: The broker.
        service: Name of the service, and of the topic.
    """

    def __init__(self, client: BrokerClient, service: str) -> None:
        self._client = client
        self._service = service

    async def publish(self, event: Event) -> None:
        """Publish an event.

        Raises:
            BrokerUnavailableError: The broker is unreachable or accepts nothing at the moment.
        """
        await self.publish_all([event])

    async def publish_all(self, events: Sequence[Event]) -> None:
        """Publish events, in the order of their keys.

        Raises:
            BrokerUnavailableError: The broker is unreachable or accepts nothing at the moment.
        """
        await self._client.append(self._service, [self._outgoing(event) for event in events])

    def _outgoing(self, event: Event) -> Outgoing:
        event_id = _event_id(event)
        sent = CloudEvent(
            id=event_id,
            source=source_of(self._service),
            type=event.kind,
            specversion="1.0",
            partitionkey=event.key,
            time=event.created_at,
            traceparent=event.traceparent,
            requestid=event.request_id,
            data=msgspec.Raw(event.payload.encode()),
        )
        return Outgoing(f"{self._service}-{event_id}", event.key, encode(sent))

    async def identity(self) -> str:
        """Return what changes when another server takes the broker's place."""
        return await self._client.identity(self._service, is_own=True)

    async def close(self) -> None:
        """Do nothing: the plugin closes the connections, after the relay has ended."""


def _event_id(event: Event) -> str:
    """Return the id: a database that takes the place of another one has its positions, at other times."""
    assert event.created_at is not None  # the relay reads it
    return f"{event.position}-{(event.created_at - _EPOCH) // timedelta(microseconds=1)}"
