"""Limits, and what becomes of them while Redis is away."""

import asyncio
import time
from collections.abc import Mapping
from math import ceil
from typing import TYPE_CHECKING, Final, Literal

import structlog
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.strategies import MovingWindowRateLimiter
from litestar.exceptions import ServiceUnavailableException

from ._memory import ProcessStorage
from ._metrics import RATE_LIMITED
from ._rate import Rate
from ._verdict import Verdict

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = structlog.get_logger(__name__)

ANSWER_S: Final = 0.25
"""Seconds that Redis has for an answer; nobody waits longer for a limit."""

AWAY_S: Final = 1.0
"""Seconds for which Redis is left alone once it failed."""


class Limiter:
    """Counts requests against limits, in Redis or within the process.

    Args:
        redis_url: Where Redis is; None to count within the process.
        namespace: What tells this service's counts from another's in the same Redis.
        on_error: What a request gets while Redis is away: `open` lets it pass.
    """

    def __init__(self, *, redis_url: str | None, namespace: str, on_error: Literal["open", "closed"]) -> None:
        self._redis_url = redis_url
        self._namespace = namespace
        self._on_error = on_error
        self._items: dict[str, RateLimitItem] = {}
        self._counters: dict[str, MovingWindowRateLimiter] = {}
        self._redis: Redis | None = None
        self._failures: tuple[type[Exception], ...] = (OSError, TimeoutError)
        self._is_away = False
        self._retry_at = 0.0

    def open(self, rates: Mapping[str, Rate]) -> None:
        """Begin to count.

        Args:
            rates: The limits by name.
        """
        self._items = {
            name: RateLimitItemPerSecond(rate.amount, rate.window_s, namespace=f"{self._namespace}/{name}")
            for name, rate in rates.items()
        }
        if self._redis_url is None or not rates:
            # One each: all keys of a storage have the same window.
            self._counters = {name: MovingWindowRateLimiter(ProcessStorage()) for name in rates}
            return
        # Late: a service that counts within the process does without.
        from ._redis import RedisError, client, storage

        self._failures = (OSError, TimeoutError, RedisError)
        self._redis = client(self._redis_url, timeout_s=ANSWER_S)
        self._counters = dict.fromkeys(rates, MovingWindowRateLimiter(storage(self._redis)))

    async def hit(self, name: str, key: str) -> Verdict | None:
        """Count a request.

        Args:
            name: The limit.
            key: Whom it is counted for.

        Returns:
            None when nobody can tell and requests pass nevertheless.

        Raises:
            ServiceUnavailableException: Nobody can tell, and requests do not pass.
        """
        verdict = None
        try:
            verdict = await self._asked(name, key)
        except self._failures as error:
            self._note_failure(error)
        if verdict is None:
            self._note_unchecked(name)
            return None
        RATE_LIMITED.labels(name, "within" if verdict.is_within else "over").inc()
        return verdict

    async def check(self) -> None:
        """Raise when Redis, if it is used, does not answer."""
        if self._redis is not None:
            await self._redis.ping()

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._redis is not None:
            await self._redis.aclose()
            self._redis = None

    async def _asked(self, name: str, key: str) -> Verdict | None:
        if self._redis is None:
            return await self._counted(name, key)
        if time.monotonic() < self._retry_at:
            return None
        async with asyncio.timeout(ANSWER_S):
            verdict = await self._counted(name, key)
        self._note_success()
        return verdict

    async def _counted(self, name: str, key: str) -> Verdict:
        item, counter = self._items[name], self._counters[name]
        is_within = await counter.hit(item, key)
        stats = await counter.get_window_stats(item, key)
        window_s = item.get_expiry()
        return Verdict(
            name=name,
            quota=item.amount,
            window_s=window_s,
            is_within=is_within,
            remaining=max(0, stats.remaining) if is_within else 0,
            reset_s=min(max(0, ceil(stats.reset_time - time.time())), window_s),
        )

    def _note_unchecked(self, name: str) -> None:
        if self._on_error == "open":
            RATE_LIMITED.labels(name, "unchecked_passed").inc()
            return
        RATE_LIMITED.labels(name, "unchecked_refused").inc()
        raise ServiceUnavailableException(
            "Requests cannot be counted at the moment.", headers={"Retry-After": str(ceil(AWAY_S))}
        )

    def _note_failure(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + AWAY_S
        if not self._is_away:
            self._is_away = True
            doing = "requests pass uncounted" if self._on_error == "open" else "limited requests are refused"
            log.error("rate limits lost", error=str(error) or type(error).__name__, consequence=doing)

    def _note_success(self) -> None:
        if self._is_away:
            self._is_away = False
            log.warning("rate limits regained")
