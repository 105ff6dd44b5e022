"""Storage of rate-limit counters: process memory, or Redis."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, final

from limits.aio.storage import MovingWindowSupport, RedisStorage, Storage

if TYPE_CHECKING:
    from redis.asyncio import Redis

_MAX_KEYS: Final = 100_000
_MAX_REDIS_CONNECTIONS: Final = 20
_MOVING_ONLY: Final = "ProcessStorage supports moving windows only, with MovingWindowRateLimiter"


@final
class ProcessStorage(Storage, MovingWindowSupport):
    """Moving-window counters in process memory.

    The memory storage of `limits` scans all of its keys on every request.

    Args:
        clock: Seconds since the epoch.
        max_keys: Bound on the number of keys; the least recently counted is evicted first.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float] = time.time, *, max_keys: int = _MAX_KEYS) -> None:
        super().__init__()
        self._clock = clock
        self._max_keys = max_keys
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    @property
    def base_exceptions(self) -> type[Exception]:
        """Required by the base class; nothing here fails."""
        return ValueError

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Record requests of a key, and return whether they are within the limit.

        Args:
            key: The key.
            limit: Requests allowed per window.
            expiry: Seconds of the window; the same for every key of one storage.
            amount: Number of requests.
        """
        times = self._within(key, expiry)
        if len(times) + amount > limit:
            return False
        now = self._clock()
        times.extend([now] * amount)
        self._times[key] = times
        self._times.move_to_end(key)
        self._evict(now - expiry)
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return the time of the oldest request in the window, and the number of requests in it."""
        del limit
        times = self._within(key, expiry)
        return (times[0], len(times)) if times else (self._clock(), 0)

    async def clear(self, key: str) -> None:
        """Delete a key."""
        self._times.pop(key, None)

    async def reset(self) -> int:
        """Delete all keys and return their number."""
        count = len(self._times)
        self._times.clear()
        return count

    async def check(self) -> bool:
        """Return True: process memory is always available."""
        return True

    async def get(self, key: str) -> int:
        """Return the number of recorded requests of a key."""
        return len(self._times.get(key, ()))

    async def get_expiry(self, key: str) -> float:
        """Raise TypeError: fixed windows are not supported."""
        del key
        raise TypeError(_MOVING_ONLY)

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Raise TypeError: fixed windows are not supported."""
        del key, expiry, amount
        raise TypeError(_MOVING_ONLY)

    def _within(self, key: str, expiry: int) -> deque[float]:
        times = self._times.get(key)
        if times is None:
            return deque()
        since = self._clock() - expiry
        while times and times[0] <= since:
            times.popleft()
        return times

    def _evict(self, before: float) -> None:
        # Keys are ordered by their last request, so expired ones come first.
        while self._times:
            key, times = next(iter(self._times.items()))
            if len(self._times) <= self._max_keys and times and times[-1] > before:
                return
            del self._times[key]


def open_redis(url: str, *, timeout_s: float) -> "tuple[Redis, RedisStorage]":
    """Create a Redis client and a storage that uses it; connects on first use.

    Args:
        url: URL of Redis.
        timeout_s: Seconds to connect, and to wait for a reply.
    """
    # Lazy: not needed when counting in process memory.
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    # One immediate retry: a pooled connection may have been closed by a restart of Redis.
    redis: Redis = Redis.from_url(
        url,
        socket_connect_timeout=timeout_s,
        socket_timeout=timeout_s,
        max_connections=_MAX_REDIS_CONNECTIONS,
        retry=Retry(NoBackoff(), 1),
    )
    storage = RedisStorage(
        "redis://",
        implementation="redispy",
        key_prefix="starkeel",
        connection_pool=redis.connection_pool,  # type: ignore[arg-type]  # passed through unchanged
    )
    return redis, storage
