"""Where events are published for other services."""

from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import DataError, RedisError
from starkeel_config import Secret
from starkeel_db import BrokerAwayError, Event

STREAM: Final = "orders:events"
_LONGEST: Final = 100_000
_TIMEOUT_S: Final = 1.5


class RedisStream:
    """A stream of Redis, of the last hundred thousand events or so.

    An entry's `id` is the event's position in the outbox: one that was published twice has the same.
    Its `traceparent` is the span that it happened in, for those who want to link theirs to it.

    Args:
        url: Of the Redis.
    """

    def __init__(self, url: Secret) -> None:
        self._redis = Redis.from_url(
            url.reveal(),
            # Sent again by the relay, which knows how often.
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=_TIMEOUT_S,
            socket_timeout=_TIMEOUT_S,
        )

    async def publish(self, event: Event) -> None:
        """Append an event.

        Raises:
            BrokerAwayError: Redis is away, full or read only.
        """
        entry = {"id": event.position, "key": event.key, "kind": event.kind, "payload": event.payload}
        if event.traceparent is not None:
            entry["traceparent"] = event.traceparent
        try:
            await self._redis.xadd(STREAM, entry, maxlen=_LONGEST, approximate=True)  # type: ignore[arg-type]  # invariant upstream
        except DataError:
            raise
        except (RedisError, OSError) as error:
            raise BrokerAwayError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()
