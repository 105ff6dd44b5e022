"""Rate limiter, and its behaviour while Redis is unavailable.

Imported only when an application is created: at its first import `prometheus_client` decides whether
processes share their values, and settings are read earlier.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Final, Literal

import structlog
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.strategies import MovingWindowRateLimiter
from litestar.exceptions import ServiceUnavailableException, TooManyRequestsException
from prometheus_client import Counter
from starkeel_asgi import Exchange, Header

from .._base.rate import Rate
from .storage import ProcessStorage, open_redis

if TYPE_CHECKING:
    from redis.asyncio import Redis

log = structlog.get_logger(__name__)

REDIS_TIMEOUT_S: Final = 0.25
REDIS_RETRY_S: Final = 1.0
"""Seconds without attempts after a Redis failure."""

RATE_LIMITED = Counter(
    "rate_limit_requests",
    "Requests to rate-limited routes: within, over, or not counted without Redis (passed or refused).",
    ["limit", "result"],
)


@dataclass(frozen=True, slots=True)
class RateLimitResult:
    """Result of counting one request against a limit.

    Args:
        name: Name of the limit.
        quota: Requests allowed per window.
        window_s: Seconds of the window.
        is_within: Whether the request is allowed.
        remaining: Requests left in the window.
        reset_s: Seconds until another request is allowed.
    """

    name: str
    quota: int
    window_s: int
    is_within: bool
    remaining: int
    reset_s: int

    def exception(self) -> TooManyRequestsException:
        """Return the exception for a request that exceeds the limit."""
        return TooManyRequestsException(
            "The rate limit is exceeded. Retry after the seconds in `Retry-After`.",
            headers={"Retry-After": str(max(1, self.reset_s))},
        )


def rate_limit_headers(results: Sequence[RateLimitResult]) -> list[Header]:
    """Return `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10)."""
    policies = ", ".join(f'"{r.name}";q={r.quota};w={r.window_s}' for r in results)
    states = ", ".join(f'"{r.name}";r={r.remaining};t={r.reset_s}' for r in results)
    return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", states.encode())]


def add_rate_limit_headers(exchange: Exchange, result: RateLimitResult) -> None:
    """Add a result to the headers of the response."""
    exchange.limits = (*exchange.limits, result)
    others = [header for header in exchange.added_headers if not header[0].startswith(b"ratelimit")]
    exchange.added_headers = (*others, *rate_limit_headers(exchange.limits))


class Limiter:
    """Counts requests against limits, in Redis or in process memory.

    Args:
        redis_url: URL of Redis; None to count in process memory.
        namespace: Separates this service's counters from others in the same Redis.
        on_error: Behaviour while Redis is unavailable: `open` allows requests.
    """

    def __init__(self, *, redis_url: str | None, namespace: str, on_error: Literal["open", "closed"]) -> None:
        self._redis_url = redis_url
        self._namespace = namespace
        self._on_error = on_error
        self._items: dict[str, RateLimitItem] = {}
        self._counters: dict[str, MovingWindowRateLimiter] = {}
        self._redis: Redis | None = None
        self._failures: tuple[type[Exception], ...] = (OSError, TimeoutError)
        self._is_failing = False
        self._retry_at = 0.0

    def open(self, rates: Mapping[str, Rate]) -> None:
        """Create the counters.

        Args:
            rates: The limits by name.
        """
        self._items = {
            name: RateLimitItemPerSecond(rate.amount, rate.window_s, namespace=f"{self._namespace}/{name}")
            for name, rate in rates.items()
        }
        if self._redis_url is None or not rates:
            # One storage per limit: all keys of a storage have the same window.
            self._counters = {name: MovingWindowRateLimiter(ProcessStorage()) for name in rates}
            return
        # Lazy: not needed when counting in process memory.
        from redis.exceptions import RedisError

        self._failures = (OSError, TimeoutError, RedisError)
        self._redis, storage = open_redis(self._redis_url, timeout_s=REDIS_TIMEOUT_S)
        self._counters = dict.fromkeys(rates, MovingWindowRateLimiter(storage))

    async def hit(self, name: str, key: str) -> RateLimitResult | None:
        """Count a request.

        Args:
            name: The limit.
            key: The client or user that the request counts for.

        Returns:
            None when Redis is unavailable and requests are allowed.

        Raises:
            ServiceUnavailableException: Redis is unavailable and requests are refused.
        """
        result = None
        try:
            result = await self._count_or_skip(name, key)
        except self._failures as error:
            self._record_failure(error)
        if result is None:
            self._record_unchecked(name)
            return None
        RATE_LIMITED.labels(name, "within" if result.is_within else "over").inc()
        return result

    async def check(self) -> None:
        """Raise if Redis is configured and unavailable."""
        if self._redis is not None:
            await self._redis.ping()

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._redis is not None:
            await self._redis.aclose()
            self._redis = None

    async def _count_or_skip(self, name: str, key: str) -> RateLimitResult | None:
        if self._redis is None:
            return await self._count(name, key)
        if time.monotonic() < self._retry_at:
            return None
        async with asyncio.timeout(REDIS_TIMEOUT_S):
            result = await self._count(name, key)
        self._record_success()
        return result

    async def _count(self, name: str, key: str) -> RateLimitResult:
        item, counter = self._items[name], self._counters[name]
        is_within = await counter.hit(item, key)
        stats = await counter.get_window_stats(item, key)
        window_s = item.get_expiry()
        return RateLimitResult(
            name=name,
            quota=item.amount,
            window_s=window_s,
            is_within=is_within,
            remaining=max(0, stats.remaining) if is_within else 0,
            reset_s=min(max(0, ceil(stats.reset_time - time.time())), window_s),
        )

    def _record_unchecked(self, name: str) -> None:
        if self._on_error == "open":
            RATE_LIMITED.labels(name, "unchecked_passed").inc()
            return
        RATE_LIMITED.labels(name, "unchecked_refused").inc()
        raise ServiceUnavailableException(
            "The rate limit cannot be checked now.",
            headers={"Retry-After": str(ceil(REDIS_RETRY_S))},
        )

    def _record_failure(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + REDIS_RETRY_S
        if not self._is_failing:
            self._is_failing = True
            effect = "requests pass uncounted" if self._on_error == "open" else "limited requests are refused"
            reason = str(error) or type(error).__name__
            log.error("rate limit storage failed", error=reason, consequence=effect)

    def _record_success(self) -> None:
        if self._is_failing:
            self._is_failing = False
            log.warning("rate limit storage recovered")
