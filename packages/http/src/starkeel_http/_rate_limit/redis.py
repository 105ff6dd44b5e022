"""Rate-limit counters in Redis, and their behaviour while it is unavailable."""

import asyncio
import time
from collections.abc import Mapping
from typing import Final

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from .._base.rate import Rate

log = structlog.get_logger(__name__)

_TIMEOUT_S: Final = 0.25
_RETRY_S: Final = 1.0
"""Seconds without attempts after a failure."""
_MAX_CONNECTIONS: Final = 20


class RedisCounters:
    """The requests of each key in moving windows, in Redis; connects on first use.

    Args:
        url: URL of Redis.
        rates: Limits by name.
        namespace: Separates these counters from others.
        consequence: Effect of a failure, for the log.
    """

    def __init__(self, url: str, rates: Mapping[str, Rate], *, namespace: str, consequence: str) -> None:
        self._items = {
            name: RateLimitItemPerSecond(rate.amount, rate.window_s, namespace=f"{namespace}/{name}")
            for name, rate in rates.items()
        }
        self._redis: Redis = Redis.from_url(
            url,
            socket_connect_timeout=_TIMEOUT_S,
            socket_timeout=_TIMEOUT_S,
            max_connections=_MAX_CONNECTIONS,
            # One immediate retry: a pooled connection may have been closed by a restart of Redis.
            retry=Retry(NoBackoff(), 1),
        )
        storage = RedisStorage(
            "redis://",
            implementation="redispy",
            key_prefix="starkeel",
            connection_pool=self._redis.connection_pool,  # type: ignore[arg-type]  # passed through unchanged
        )
        self._limiter = MovingWindowRateLimiter(storage)
        self._consequence = consequence
        self._is_failing = False
        self._retry_at = 0.0
        self.ping = self._redis.ping
        self.close = self._redis.aclose

    async def hit(self, name: str, key: str) -> tuple[bool, int, float] | None:
        """Count a request of a key.

        Returns:
            Whether the request is allowed, the number of requests left, and the seconds until the oldest
            counted request leaves the window; None if Redis is unavailable.
        """
        if time.monotonic() < self._retry_at:
            return None
        item = self._items[name]
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                is_within = await self._limiter.hit(item, key)
                stats = await self._limiter.get_window_stats(item, key)
        except (OSError, TimeoutError, RedisError) as error:
            self._retry_at = time.monotonic() + _RETRY_S
            if not self._is_failing:
                self._is_failing = True
                reason = str(error) or type(error).__name__
                log.error("rate limit storage failed", error=reason, consequence=self._consequence)
            return None
        if self._is_failing:
            self._is_failing = False
            log.warning("rate limit storage recovered")
        return is_within, max(0, stats.remaining) if is_within else 0, stats.reset_time - time.time()
