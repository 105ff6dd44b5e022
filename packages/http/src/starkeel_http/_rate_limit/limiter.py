"""Rate limits: counters in process memory, the limiter, and the guard that counts users.

Imported only when an application is created: at its first import `prometheus_client` decides whether
processes share their values, and settings are read earlier.
"""

import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from copy import copy
from functools import cache
from hashlib import blake2b
from math import ceil
from typing import TYPE_CHECKING, Any, Final, Literal, final

from litestar import Router
from litestar.connection import ASGIConnection, WebSocket
from litestar.exceptions import (
    HTTPException,
    ImproperlyConfiguredException,
    ServiceUnavailableException,
    TooManyRequestsException,
    WebSocketException,
)
from litestar.handlers import BaseRouteHandler
from prometheus_client import Counter
from starkeel_asgi import Exchange, HttpExchange, WebSocketExchange, current, header_map
from starkeel_config import Secret

from .._base.rate import Rate
from .._base.route_options import user_limits
from .streams import StreamLimits, is_stream

if TYPE_CHECKING:
    from .redis import RedisCounters

_MAX_KEYS: Final = 100_000
_DIGEST_BYTES: Final = 16
_WEBSOCKET_CODES_FROM: Final = 4000

RATE_LIMITED = Counter(
    "rate_limit_requests",
    "Requests to rate-limited routes; while Redis is unavailable counted in each worker (degraded) or refused"
    " (unchecked).",
    ["limit", "result"],
)
_counter: Final = cache(RATE_LIMITED.labels)


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
        on_error: Behaviour while Redis is unavailable: `open` counts requests in process memory.
    """

    def __init__(
        self, *, redis_url: Secret | None, namespace: str, on_error: Literal["open", "closed"]
    ) -> None:
        self._redis_url = redis_url
        self._namespace = namespace
        self._on_error = on_error
        self._rates: Mapping[str, Rate] = {}
        self._shares: Mapping[str, Rate] = {}
        self._process: dict[str, ProcessCounters] = {}
        self._redis: RedisCounters | None = None

    @asynccontextmanager
    async def running(self, rates: Mapping[str, Rate], *, workers: int) -> AsyncGenerator[None]:
        """Count until the block ends.

        Args:
            rates: Limits by name.
            workers: Number of workers among which the limits are divided while they do not use Redis: rounded
                down where they never do, and up while Redis is unavailable.
        """
        has_redis = self._redis_url is not None and bool(rates)
        self._rates = rates
        self._shares = {name: rate.shared_by(workers, round_up=has_redis) for name, rate in rates.items()}
        self._process = {name: ProcessCounters(share) for name, share in self._shares.items()}
        if self._redis_url is None or not has_redis:
            yield
            return
        # Lazy: not needed when counting in process memory.
        from .redis import RedisCounters

        is_open = self._on_error == "open"
        effect = "each worker counts its share" if is_open else "limited requests are refused"
        self._redis = RedisCounters(self._redis_url, rates, namespace=self._namespace, consequence=effect)
        try:
            async with self._redis.running():
                yield
        finally:
            self._redis = None

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
            found = None if self._redis is None else await self._redis.hit(name, key)
            if found is not None:
                rate, prefix = self._rates[name], ""
            else:
                if self._redis is not None and self._on_error == "closed":
                    _counter(name, "unchecked_refused").inc()
                    # There is an attempt to connect to Redis every second.
                    raise ServiceUnavailableException(
                        "The rate limit cannot be checked now.", headers={"Retry-After": "1"}
                    )
                found = self._process[name].hit(key)
                rate, prefix = self._shares[name], "" if self._redis is None else "degraded_"
            is_within, remaining, left_s = found
            reset_s = min(max(0, ceil(left_s)), rate.window_s)
            _counter(name, f"{prefix}within" if is_within else f"{prefix}over").inc()
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
        """Raise if Redis is configured and does not count."""
        if self._redis is not None:
            await self._redis.check()


@final
class UserLimit:
    """Guard that counts a user's requests against the limits of these names, and open streams."""

    def __init__(self, limiter: Limiter, names: tuple[str, ...], streams: StreamLimits | None) -> None:
        self._limiter = limiter
        self._names = names
        self._streams = streams

    def __deepcopy__(self, _: object) -> "UserLimit":
        # Litestar copies the guards of controllers and routers; the limiter is shared.
        return self

    async def __call__(
        self, connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler
    ) -> None:
        """Count a request of the authenticated user.

        Raises:
            TooManyRequestsException: A limit is exceeded.
            ServiceUnavailableException: Redis is unavailable and requests are refused.
            WebSocketException: Either of them on a WebSocket, with 4000 plus the status as close code.
            ImproperlyConfiguredException: No guard before this one authenticated the user.
        """
        subject = getattr(connection.scope.get("user"), "subject", None)
        if not isinstance(subject, str):
            if not self._names:
                # A stream without users.
                return
            raise ImproperlyConfiguredException(
                f"{handler} has a rate limit per user, but no guard before it set `scope['user']`"
            )
        exchange = current(connection.scope)
        assert isinstance(exchange, HttpExchange | WebSocketExchange)
        # Hashed: Redis may be shared, and keys must not contain identities.
        key = blake2b(subject.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).hexdigest()
        try:
            await self._limiter.count(exchange, self._names, key)
            if self._streams is not None:
                self._streams.count(exchange, "user", key)
        except HTTPException as error:
            if not isinstance(connection, WebSocket):
                raise
            code = _WEBSOCKET_CODES_FROM + error.status_code
            raise WebSocketException(detail=error.detail, code=code) from error


def with_user_limits(route: Any, limiter: Limiter, streams: StreamLimits) -> Any:
    """Return a route in which a `UserLimit` is the last guard of streams and of handlers with such a limit.

    Litestar resolves guards when it registers a route, so they are attached before; to a copy, as another
    application may have the same route, which is a handler, controller or router.
    """
    if isinstance(route, BaseRouteHandler):
        handler = copy(route)
        return handler if _add_guard(handler, route.opt, limiter, streams) else route
    # A router without options of its own: it registers copies of the handlers.
    router = Router("/", route_handlers=[route])
    handlers = {id(handler): handler for each in router.routes for handler in _handlers(each)}.values()
    is_limited = [_add_guard(handler, _options(handler), limiter, streams) for handler in handlers]
    return router if any(is_limited) else route


def _add_guard(
    handler: BaseRouteHandler, opt: Mapping[str, Any], limiter: Limiter, streams: StreamLimits
) -> bool:
    names, counted = user_limits(opt), streams if is_stream(handler) else None
    if not names and counted is None:
        return False
    handler.guards = [*(handler.guards or ()), UserLimit(limiter, names, counted)]
    return True


def _options(handler: BaseRouteHandler) -> dict[str, Any]:
    return {name: value for layer in handler.ownership_layers for name, value in (layer.opt or {}).items()}


def _handlers(route: Any) -> list[BaseRouteHandler]:
    return route.route_handlers if hasattr(route, "route_handlers") else [route.route_handler]
