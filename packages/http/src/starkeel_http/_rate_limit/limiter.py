"""Counts requests against limits.

Imported only when an application is created: at its first import `prometheus_client` decides whether
processes share their values, and settings are read earlier.
"""

import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache, partial
from hashlib import blake2b
from math import ceil
from typing import TYPE_CHECKING, Final, Literal

from litestar.exceptions import ServiceUnavailableException, TooManyRequestsException
from prometheus_client import Counter
from starkeel_asgi import Exchange, GateOrder, Header, HttpExchange, Response, header_map
from starkeel_config import Secret

from .._base.addresses import rate_limit_keys
from .._base.rate import Rate
from .process import ProcessCounters
from .rules import Account, Count, Counted, Rule, Usage, rules_of

if TYPE_CHECKING:
    from .redis import RedisCounters

_DIGEST_BYTES: Final = 16
_POSTPONED: Final = "starkeel_http.postponed_usages"
_RECALL_S: Final = 1.0
"""Seconds for which a client over its limit is refused without another round trip."""
_MAX_RECALLED: Final = 10_000

RATE_LIMITED = Counter(
    "rate_limit_requests",
    "Requests to rate-limited routes; while Redis is unavailable counted in each worker (degraded) or refused"
    " (unchecked).",
    ["limit", "result"],
)
_counter: Final = cache(RATE_LIMITED.labels)


class RateLimitExceeded(TooManyRequestsException):
    """429, with the exceeded limits.

    Args:
        over: What the request would have counted for.
        retry_s: Seconds after which it is allowed.
    """

    def __init__(self, over: Sequence[Usage], retry_s: int) -> None:
        super().__init__(
            "The rate limit is exceeded. Retry after the seconds in `Retry-After`.",
            headers={"Retry-After": str(retry_s)},
        )
        self.over = over


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
        self._process = ProcessCounters()
        self._redis: RedisCounters | None = None
        self._recalled: dict[Usage, tuple[float, tuple[Header, ...], int]] = {}

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
        self._process = ProcessCounters()
        if self._redis_url is None or not has_redis:
            yield
            return
        # Lazy: not needed when counting in process memory.
        from .redis import RedisCounters

        is_open = self._on_error == "open"
        effect = "each worker counts its share" if is_open else "limited requests are refused"
        self._redis = RedisCounters(self._redis_url, namespace=self._namespace, consequence=effect)
        try:
            async with self._redis.running():
                yield
        finally:
            self._redis = None

    def postpone(self, exchange: HttpExchange, usages: Sequence[Usage]) -> None:
        """Have a request counted together with its user or account, at the latest before its response.

        Then all of its limits need one round trip, and one that is exceeded leaves the others uncounted.

        Raises:
            TooManyRequestsException: One of these limits was exceeded less than a second ago.
        """
        now = time.monotonic()
        for usage in usages:
            until, headers, retry_s = self._recalled.get(usage, (0.0, (), 0))
            if now < until:
                _counter(usage.limit, "over").inc()
                _add_headers(exchange, headers)
                raise RateLimitExceeded([usage], retry_s)
        exchange.scope["state"][_POSTPONED] = usages
        exchange.add_gate(partial(self._count_postponed, exchange), GateOrder.STORE)

    async def count(self, exchange: Exchange, usages: Sequence[Usage]) -> Counted:
        """Count a request, with those postponed, and add the state of its limits to the response's headers.

        Raises:
            TooManyRequestsException: A limit is exceeded; nothing has been counted.
            ServiceUnavailableException: Redis is unavailable and requests are refused.
        """
        postponed: Sequence[Usage] = exchange.scope["state"].pop(_POSTPONED, ())
        usages = (*postponed, *usages)
        account = _account_of(usages[-1]) if usages else None
        rates, prefix = self._rates, ""
        counted: Counted | None = None
        groups = [rules_of(usage, rates[usage.limit]) for usage in usages]
        if self._redis is not None:
            counted = await self._redis.hit([rule for rules in groups for rule in rules], account)
        if counted is None:
            if self._redis is not None:
                self._check_open(usages)
                prefix = "degraded_"
            groups = [rules_of(usage, self._shares[usage.limit]) for usage in usages]
            counted = self._process.hit([rule for rules in groups for rule in rules], account)
        headers, over, retry_s = _evaluate(usages, groups, counted)
        _add_headers(exchange, headers)
        for usage in usages if counted.is_within else over:
            _counter(usage.limit, f"{prefix}within" if counted.is_within else f"{prefix}over").inc()
        if not counted.is_within:
            if not prefix:
                self._recall([usage for usage in over if usage in postponed], headers, retry_s)
            raise RateLimitExceeded(over, retry_s)
        return counted

    def remember(self, exchange: Exchange, account: str, peer: str) -> None:
        """Store that an account has succeeded from an address, in Redis after the response."""
        known = Account(account, _peer_hash(account, peer))
        # Also here, for the time when Redis is unavailable.
        self._process.remember(known)
        if self._redis is not None:
            exchange.add_cleanup(partial(self._redis.remember, known))

    async def check(self) -> None:
        """Raise if Redis is configured and does not count."""
        if self._redis is not None:
            await self._redis.check()

    async def _count_postponed(self, exchange: Exchange, _: Response) -> None:
        if _POSTPONED in exchange.scope["state"]:
            await self.count(exchange, ())

    def _check_open(self, usages: Iterable[Usage]) -> None:
        if self._on_error == "closed":
            for usage in usages:
                _counter(usage.limit, "unchecked_refused").inc()
            # There is an attempt to connect to Redis every second.
            raise ServiceUnavailableException(
                "The rate limit cannot be checked now.", headers={"Retry-After": "1"}
            )

    def _recall(self, usages: Iterable[Usage], headers: tuple[Header, ...], retry_s: int) -> None:
        if self._redis is None:
            return
        if len(self._recalled) >= _MAX_RECALLED:
            self._recalled.clear()
        for usage in usages:
            self._recalled[usage] = (time.monotonic() + min(_RECALL_S, retry_s), headers, retry_s)


def address_usages(names: Iterable[str], client: str) -> tuple[Usage, ...]:
    """Return what a request of a client counts for; an IPv6 address counts for its /64 and its /48."""
    key, wide_key = rate_limit_keys(client)
    return tuple(Usage(name, key, wide_key) for name in names)


def _account_of(usage: Usage) -> Account | None:
    return None if usage.peer is None else Account(usage.key, _peer_hash(usage.key, usage.peer))


def _peer_hash(account: str, peer: str) -> str:
    # Depends on the account: the addresses of one cannot be compared with those of another.
    key = rate_limit_keys(peer)[0]
    return blake2b(key.encode(), key=account.encode()[:64], digest_size=_DIGEST_BYTES).hexdigest()


def _evaluate(
    usages: Iterable[Usage], groups: Iterable[list[Rule]], counted: Counted
) -> tuple[tuple[Header, ...], list[Usage], int]:
    """Return the headers, the exceeded limits, and the seconds after which the request is allowed again."""
    counts = iter(counted.counts)
    policies: list[str] = []
    states: list[str] = []
    over: list[Usage] = []
    wait_s = 0.0
    taken = int(counted.is_within)
    for usage, rules in zip(usages, groups, strict=True):
        pairs = [(rule, next(counts)) for rule in rules]
        waits = [wait for rule, count in pairs if (wait := _wait_of(rule, count)) is not None]
        if waits:
            over.append(usage)
            wait_s = max(wait_s, *waits)
        if usage.peer is None:
            # The state of an account would show strangers when its owner signs in.
            _describe(pairs, taken, policies, states)
    if not states:
        return (), over, max(1, ceil(wait_s))
    # draft-ietf-httpapi-ratelimit-headers-11.
    headers = (
        (b"ratelimit-policy", ", ".join(policies).encode()),
        (b"ratelimit", ", ".join(states).encode()),
    )
    return headers, over, max(1, ceil(wait_s))


def _wait_of(rule: Rule, count: Count) -> float | None:
    """Return the seconds until a key is no longer at its limit, and `None` if it is not."""
    waits = []
    if count.counted >= rule.amount:
        waits.append(count.left_s)
    if rule.burst and count.recent >= rule.burst:
        waits.append(count.recent_left_s)
    return max(waits, default=None)


def _describe(pairs: list[tuple[Rule, Count]], taken: int, policies: list[str], states: list[str]) -> None:
    rule, first = pairs[0]
    # Of client and network, that with less left.
    remaining, left_s = min((rule.amount - count.counted, count.left_s) for rule, count in pairs)
    reset_s = min(max(0, ceil(left_s)), rule.window_s)
    policies.append(f'"{rule.limit}";q={rule.amount};w={rule.window_s}')
    states.append(f'"{rule.limit}";r={max(0, remaining - taken)};t={reset_s}')
    if rule.burst:
        policies.append(f'"{rule.limit}-burst";q={rule.burst};w={ceil(rule.burst_s)}')
        left = max(0, rule.burst - first.recent - taken)
        states.append(f'"{rule.limit}-burst";r={left};t={max(0, ceil(first.recent_left_s))}')


def _add_headers(exchange: Exchange, headers: tuple[Header, ...]) -> None:
    added = (*exchange.added_headers, *headers)
    # Those of a limit that was counted before become a list.
    is_repeated = len(added) > len(headers) and len({name for name, _ in added}) < len(added)
    exchange.added_headers = tuple(header_map(added).items()) if is_repeated else added
