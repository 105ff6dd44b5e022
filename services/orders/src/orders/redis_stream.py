"""Redis stream that publishes events to other services."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from litestar import Litestar
from starkeel_config import Secret
from starkeel_db import BrokerUnavailableError, Event
from starkeel_redis import RedisClient, RedisFailure

STREAM: Final = "orders:events"
_MAX_LENGTH: Final = 100_000
_REPLY_S: Final = 0.5


class RedisStream:
    """Broker of the outbox, with approximately the last hundred thousand events.

    An entry's `id` is the event's position in the outbox, the same for an event that is published twice.
    Its `traceparent` is the span that created the event, for span links of consumers.
    """

    def __init__(self, url: Secret) -> None:
        self._redis = RedisClient(url, reply_s=_REPLY_S)

    @asynccontextmanager
    async def running(self, _: Litestar) -> AsyncGenerator[None]:
        """Keep a connection open while the application runs."""
        async with self._redis.running():
            yield

    async def publish(self, event: Event) -> None:
        """Append an event.

        Raises:
            BrokerUnavailableError: Redis is unavailable or accepts no events, such as a replica. No error of
                Redis concerns a single event.
        """
        entry: list[str | int] = [
            "id",
            event.position,
            "key",
            event.key,
            "kind",
            event.kind,
            "payload",
            event.payload,
        ]
        if event.traceparent is not None:
            entry += ["traceparent", event.traceparent]
        try:
            await self._redis.execute("XADD", STREAM, "MAXLEN", "~", _MAX_LENGTH, "*", *entry)
        except RedisFailure as failure:
            raise BrokerUnavailableError(str(failure)) from failure

    async def close(self) -> None:
        """Do nothing: the connection is closed by `running`, which ends after the relay."""
