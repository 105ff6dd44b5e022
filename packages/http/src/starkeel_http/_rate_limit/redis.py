"""Rate-limit counters in Redis, and their behaviour while it is unavailable."""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from hashlib import sha1
from typing import Any, Final

import structlog
from prometheus_client import Gauge
from starkeel_config import Secret
from starkeel_redis import RedisClient, RedisFailure

from .._base.rate import Rate

log = structlog.get_logger(__name__)

_REPLY_S: Final = 0.25
_CHECK: Final = Rate(10_000, 60)
# A list of the times of counted requests, newest first. The clock is that of Redis: those of hosts differ.
# Replies: whether the request is allowed, requests left, and milliseconds until the oldest leaves the window.
_HIT: Final = """
local key, amount, window = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
local oldest = redis.call('LINDEX', key, -1)
while oldest and tonumber(oldest) <= now - window do
    redis.call('RPOP', key)
    oldest = redis.call('LINDEX', key, -1)
end
local count = redis.call('LLEN', key)
local allowed = count < amount
if allowed then
    redis.call('LPUSH', key, string.format('%.6f', now))
    redis.call('EXPIRE', key, window)
    count = count + 1
end
return {allowed and 1 or 0, math.max(0, amount - count), math.ceil(((oldest or now) - now + window) * 1000)}
"""
_HIT_DIGEST: Final = sha1(_HIT.encode(), usedforsecurity=False).hexdigest()


@cache
def _storage_up() -> Gauge:
    # Created only where Redis is used: a series without a value would be 0.
    return Gauge(
        "rate_limit_storage_up",
        "Whether Redis counted the last rate-limited request or check; 0 if it did not in any worker.",
        multiprocess_mode="livemin",
    )


class RedisCounters:
    """The requests of each key in moving windows, in Redis.

    Args:
        url: URL of Redis.
        rates: Limits by name.
        namespace: Separates these counters from others.
        consequence: Effect of a failure, for the log.
    """

    def __init__(self, url: Secret, rates: Mapping[str, Rate], *, namespace: str, consequence: str) -> None:
        self._rates = rates
        self._prefix = f"starkeel:{namespace}"
        self._redis = RedisClient(url, reply_s=_REPLY_S)
        self._consequence = consequence
        self._is_failing = False

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Keep a connection open until the block ends."""
        _storage_up().set(1)
        async with self._redis.running():
            yield

    async def hit(self, name: str, key: str) -> tuple[bool, int, float] | None:
        """Count a request of a key.

        Returns:
            Whether the request is allowed, the number of requests left, and the seconds until the oldest
            counted request leaves the window; None if Redis is unavailable.
        """
        try:
            is_within, remaining, left_ms = await self._count(f"{name}/{key}", self._rates[name])
        except RedisFailure:
            return None
        return is_within == 1, remaining, left_ms / 1000

    async def check(self) -> None:
        """Count a request of no client: a server that replies may still refuse to count.

        Raises:
            RedisFailure: Redis does not count.
        """
        await self._count("/check", _CHECK)

    async def _count(self, key: str, rate: Rate) -> Any:
        # The rate is part of the key: another one starts with new counters.
        full_key = f"{self._prefix}/{key}/{rate.amount}/{rate.window_s}/second"
        try:
            reply = await self._run_script(full_key, rate)
        except RedisFailure as failure:
            self._record_failure(failure)
            raise
        if self._is_failing:
            self._is_failing = False
            _storage_up().set(1)
            log.warning("rate limit storage recovered")
        return reply

    async def _run_script(self, key: str, rate: Rate) -> Any:
        started_at = time.monotonic()
        arguments = (1, key, rate.amount, rate.window_s)
        try:
            return await self._redis.execute("EVALSHA", _HIT_DIGEST, *arguments)
        except RedisFailure as failure:
            if failure.kind == "script":
                return await self._redis.execute("EVAL", _HIT, *arguments)
            if failure.is_of_command or time.monotonic() - started_at >= _REPLY_S:
                raise
        # Once more on a new connection, which leads to the new primary after a failover. Before the first
        # failure the request may have been counted, and is counted twice then.
        return await self._redis.execute("EVAL", _HIT, *arguments)

    def _record_failure(self, failure: RedisFailure) -> None:
        if self._is_failing:
            return
        self._is_failing = True
        _storage_up().set(0)
        log.error("rate limit storage failed", error=str(failure), consequence=self._consequence)
