"""Where events travel: within the process, or by Redis between all of them.

Litestar's own backends forget a channel's history with its last listener (memory) or have none (Redis
Pub/Sub).
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from typing import Any

import structlog
from litestar.channels.backends.base import ChannelsBackend
from litestar.channels.backends.memory import MemoryChannelsBackend
from litestar.channels.backends.redis import RedisChannelsPubSubBackend
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError
from starkeel_config import Secret

log = structlog.get_logger(__name__)

HISTORY = 100
"""Events remembered for each user."""

_HISTORY_TTL_S = 3600
_MAX_CHANNELS = 10_000
_CONNECT_TIMEOUT_S = 2.0
_TIMEOUT_S = 5.0
_RETRIES = 2
_RETRY_PAUSE_S = 0.1


def event_backend(redis_url: Secret | None) -> ChannelsBackend:
    """Return the backend that goes with the settings; connects to nothing yet."""
    return MemoryBackend() if redis_url is None else RedisBackend(redis_url.reveal())


class MemoryBackend(MemoryChannelsBackend):
    """Within one process; remembers the events of the users it heard of last, listening or not."""

    def __init__(self) -> None:
        super().__init__(history=HISTORY)

    async def publish(self, data: bytes, channels: Iterable[str]) -> None:
        """Hand `data` to who listens, and remember it."""
        channels = list(channels)
        await super().publish(data, channels)
        for channel in channels:
            self._history[channel] = self._history.pop(channel)
        while len(self._history) > _MAX_CHANNELS:
            del self._history[next(iter(self._history))]

    async def unsubscribe(self, channels: Iterable[str]) -> None:
        """Stop handing out events; what was remembered stays."""
        self._channels -= set(channels)

    async def get_history(self, channel: str, limit: int | None = None) -> list[bytes]:
        """Return what is remembered, the oldest first."""
        return list(self._history.get(channel, ()))[-(limit or HISTORY) :]


class RedisBackend(RedisChannelsPubSubBackend):
    """Between processes: Pub/Sub brings events at once, a capped stream remembers them for an hour."""

    def __init__(self, url: str) -> None:
        # A subscription that reconnected by itself would hide that events were lost meanwhile; a command
        # whose pooled connection had died is simply sent again.
        super().__init__(redis=_redis(url, retries=0))
        self._commands = _redis(url, retries=_RETRIES)

    async def publish(self, data: bytes, channels: Iterable[str]) -> None:
        """Tell every process, and remember; an error is only logged, since the order is committed."""
        try:
            async with self._commands.pipeline(transaction=True) as pipeline:
                for channel in channels:
                    key = f"{channel}:history"
                    pipeline.xadd(key, {"data": data}, maxlen=HISTORY, approximate=True)
                    pipeline.expire(key, _HISTORY_TTL_S)
                    pipeline.publish(channel, data)
                await pipeline.execute()
        except (RedisError, OSError) as error:
            log.warning("order event not published", error=str(error))

    async def get_history(self, channel: str, limit: int | None = None) -> list[bytes]:
        """Return what is remembered, the oldest first."""
        entries: Any = await self._commands.xrevrange(f"{channel}:history", count=limit or HISTORY)
        return [fields[b"data"] for _, fields in reversed(entries)]

    async def stream_events(self) -> AsyncGenerator[tuple[str, Any], None]:
        """Yield events as they come; after an error nothing is subscribed to any more."""
        try:
            async for event in super().stream_events():
                yield event
        except (RedisError, OSError):
            self._has_subscribed.clear()
            with suppress(RedisError, OSError):
                await self._pub_sub.aclose()  # type: ignore[no-untyped-call]  # untyped upstream
            raise

    async def on_shutdown(self) -> None:
        """Close the connections."""
        with suppress(RedisError, OSError):
            await super().on_shutdown()
            await self._redis.aclose()
            await self._commands.aclose()


def _redis(url: str, *, retries: int) -> Redis:
    return Redis.from_url(
        url,
        retry=Retry(ConstantBackoff(_RETRY_PAUSE_S), retries),
        socket_connect_timeout=_CONNECT_TIMEOUT_S,
        socket_timeout=_TIMEOUT_S,
    )
