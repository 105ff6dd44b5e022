"""Rate limiter: counts requests in process memory or in Redis.

Imported only when an application is created: at its first import `prometheus_client` decides whether
processes share their values, and settings are read earlier.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from math import ceil
from typing import TYPE_CHECKING, Final, Literal

from litestar.exceptions import ServiceUnavailableException, TooManyRequestsException
from prometheus_client import Counter
from starkeel_asgi import Exchange, header_map

from .._base.rate import Rate

if TYPE_CHECKING:
    from .redis import RedisCounters

_MAX_KEYS: Final = 100_000

RATE_LIMITED = Counter(
    "rate_limit_requests",
    "Requests to rate-limited routes: within, over, or not counted without Redis (passed or refused).",
    ["limit", "result"],
)


class ProcessCounters:
    """The requests of each key in a moving window, in process memory.

    The memory storage of `limits` scans all of its keys on every request.
    """

    def __init__(self, rate: Rate) -> None:
        self._amount, self._window_s = rate.amount, rate.window_s
        # In the order of their last counted request, so that expired keys come first.
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def hit(self, key: str) -> tuple[bool, int, float]:
        """Count a request, as `RedisCounters.hit`."""
        now = time.monotonic()
        since = now - self._window_s
        times = self._times.get(key) or deque()
        while times and times[0] <= since:
            times.popleft()
        is_within = len(times) < self._amount
        if is_within:
            times.append(now)
            self._times[key] = times
            self._times.move_to_end(key)
            self._evict(since)
        return is_within, self._amount - len(times), times[0] - since

    def _evict(self, since: float) -> None:
        while True:
            key, times = next(iter(self._times.items()))
            if len(self._times) <= _MAX_KEYS and times[-1] > since:
                return
            del self._times[key]


class Limiter:
    """Counts requests against limits.

    Args:
        redis_url: URL of Redis; None to count in process memory.
        namespace: Separates this service's counters from others in the same Redis.
        on_error: Behaviour while Redis is unavailable: `open` allows requests.
    """

    def __init__(self, *, redis_url: str | None, namespace: str, on_error: Literal["open", "closed"]) -> None:
        self._redis_url = redis_url
        self._namespace = namespace
        self._on_error = on_error
        self._rates: Mapping[str, Rate] = {}
        self._process: dict[str, ProcessCounters] = {}
        self._redis: RedisCounters | None = None

    def open(self, rates: Mapping[str, Rate]) -> None:
        """Create the counters of limits, given by name."""
        self._rates = rates
        if self._redis_url is None or not rates:
            self._process = {name: ProcessCounters(rate) for name, rate in rates.items()}
            return
        # Lazy: not needed when counting in process memory.
        from .redis import RedisCounters

        is_open = self._on_error == "open"
        effect = "requests pass uncounted" if is_open else "limited requests are refused"
        self._redis = RedisCounters(self._redis_url, rates, namespace=self._namespace, consequence=effect)

    async def count(self, exchange: Exchange, names: Iterable[str], key: str) -> None:
        """Count a request against limits, and add their state to the headers of its response.

        Args:
            exchange: The request.
            names: Names of the limits.
            key: The client or user that the request counts for.

        Raises:
            TooManyRequestsException: A limit is exceeded.
            ServiceUnavailableException: Redis is unavailable and requests are refused.
        """
        for name in names:
            if self._redis is None:
                is_within, remaining, left_s = self._process[name].hit(key)
            elif (found := await self._redis.hit(name, key)) is not None:
                is_within, remaining, left_s = found
            else:
                self._record_unchecked(name)
                continue
            rate = self._rates[name]
            reset_s = min(max(0, ceil(left_s)), rate.window_s)
            RATE_LIMITED.labels(name, "within" if is_within else "over").inc()
            # `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
            added = header_map(
                (
                    *exchange.added_headers,
                    (b"ratelimit-policy", f'"{name}";q={rate.amount};w={rate.window_s}'.encode()),
                    (b"ratelimit", f'"{name}";r={remaining};t={reset_s}'.encode()),
                )
            )
            exchange.added_headers = tuple(added.items())
            if not is_within:
                raise TooManyRequestsException(
                    "The rate limit is exceeded. Retry after the seconds in `Retry-After`.",
                    headers={"Retry-After": str(max(1, reset_s))},
                )

    async def check(self) -> None:
        """Raise if Redis is configured and unavailable."""
        if self._redis is not None:
            await self._redis.ping()

    async def close(self) -> None:
        """Close the connections to Redis."""
        if self._redis is not None:
            await self._redis.close()
            self._redis = None

    def _record_unchecked(self, name: str) -> None:
        if self._on_error == "open":
            RATE_LIMITED.labels(name, "unchecked_passed").inc()
            return
        RATE_LIMITED.labels(name, "unchecked_refused").inc()
        # Redis is used again after one second.
        raise ServiceUnavailableException(
            "The rate limit cannot be checked now.", headers={"Retry-After": "1"}
        )
