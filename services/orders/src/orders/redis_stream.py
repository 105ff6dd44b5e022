"""Redis stream that publishes events to other services."""

from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import DataError, RedisError
from starkeel_config import Secret
from starkeel_db import BrokerUnavailableError, Event

STREAM: Final = "orders:events"
_MAX_LENGTH: Final = 100_000
_TIMEOUT_S: Final = 1.5


class RedisStream:
    """Broker of the outbox, with approximately the last hundred thousand events.

    An entry's `id` is the event's position in the outbox, the same for an event that is published twice.
    Its `traceparent` is the span that created the event, for span links of consumers.
    """

    def __init__(self, url: Secret) -> None:
        self._redis = Redis.from_url(
            url.reveal(),
            # The relay retries, with its own backoff.
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=_TIMEOUT_S,
            socket_timeout=_TIMEOUT_S,
        )

    async def publish(self, event: Event) -> None:
        """Append an event.

        Raises:
            BrokerUnavailableError: Redis is unavailable, out of memory or read-only.
        """
        entry = {"id": event.position, "key": event.key, "kind": event.kind, "payload": event.payload}
        if event.traceparent is not None:
            entry["traceparent"] = event.traceparent
        try:
            await self._redis.xadd(STREAM, entry, maxlen=_MAX_LENGTH, approximate=True)  # type: ignore[arg-type]  # invariant upstream
        except DataError:
            raise
        except (RedisError, OSError) as error:
            raise BrokerUnavailableError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
