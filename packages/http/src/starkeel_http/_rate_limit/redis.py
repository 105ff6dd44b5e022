"""Rate-limit counters in Redis, and their behaviour while it is unavailable."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import cache
from hashlib import sha1
from typing import Any, Final

import structlog
from prometheus_client import Gauge
from starkeel_config import Secret
from starkeel_redis import RedisClient, RedisFailure

from .rules import KNOWN_ADDRESSES, KNOWN_S, REMEMBERED_S, Account, Count, Counted, Rule, own_rule

log = structlog.get_logger(__name__)

_REPLY_S: Final = 0.25
_CHECK: Final = Rule("", "check", 10_000, 60, 0, 0)
# Lists of the times of counted requests, newest first. The clock is that of Redis: those of hosts differ.
# KEYS: one for each rule; for an account also the set of its known addresses, and the key that replaces the
# last rule's if the address is one of them. ARGV: the address or an empty string, the seconds for which it is
# known, and amount, window, burst and window of the burst of each rule. Replies with numbers: whether the
# request is allowed, whether the account has succeeded from the address within a day, and for each rule the
# state before as in `Count`, in milliseconds.
_HIT: Final = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1e6
local rules = #KEYS
local reply = {1, 0}
if ARGV[1] ~= '' then
    rules = rules - 2
    local known = redis.call('ZSCORE', KEYS[rules + 1], ARGV[1])
    if known and tonumber(known) > now - ARGV[2] then KEYS[rules] = KEYS[rules + 2] end
    if known and tonumber(known) > now - REMEMBERED then reply[2] = 1 end
end
for i = 1, rules do
    local key, at = KEYS[i], i * 4 - 1
    local amount, window, burst, span =
        tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    local oldest = redis.call('LINDEX', key, -1)
    while oldest and tonumber(oldest) <= now - window do
        redis.call('RPOP', key)
        oldest = redis.call('LINDEX', key, -1)
    end
    local count = redis.call('LLEN', key)
    local recent, first = 0, now
    if burst > 0 then
        local high = math.min(burst, count)
        while recent < high do
            local middle = math.floor((recent + high + 1) / 2)
            local found = tonumber(redis.call('LINDEX', key, middle - 1))
            if found > now - span then recent, first = middle, found else high = middle - 1 end
        end
    end
    if count >= amount or (burst > 0 and recent >= burst) then reply[1] = 0 end
    reply[#reply + 1] = count
    reply[#reply + 1] = math.ceil(((oldest or now) - now + window) * 1000)
    reply[#reply + 1] = recent
    reply[#reply + 1] = math.ceil((first - now + span) * 1000)
end
if reply[1] == 1 then
    for i = 1, rules do
        redis.call('LPUSH', KEYS[i], string.format('%.6f', now))
        redis.call('EXPIRE', KEYS[i], ARGV[i * 4])
    end
end
-- One string: the client reads each element of an array by itself.
return table.concat(reply, ' ')
""".replace("REMEMBERED", str(REMEMBERED_S))
# KEYS: the set of an account's known addresses. ARGV: an address, seconds, and the number of addresses.
_REMEMBER: Final = """
local clock = redis.call('TIME')
redis.call('ZADD', KEYS[1], clock[1], ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""
_DIGESTS: Final = {
    script: sha1(script.encode(), usedforsecurity=False).hexdigest() for script in (_HIT, _REMEMBER)
}


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
        namespace: Separates these counters from others.
        consequence: Effect of a failure, for the log.
    """

    def __init__(self, url: Secret, *, namespace: str, consequence: str) -> None:
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

    async def hit(self, rules: list[Rule], account: Account | None) -> Counted | None:
        """Count a request in one round trip; return `None` if Redis is unavailable."""
        keys = [self._key(rule) for rule in rules]
        if account is not None:
            keys += (self._known_key(account), self._key(own_rule(rules[-1], account)))
        arguments: list[str | float] = ["" if account is None else account.peer, KNOWN_S]
        for rule in rules:
            arguments += rule[2:]
        try:
            reply = await self._run(_HIT, keys, arguments)
        except RedisFailure:
            return None
        within, was_remembered, *states = map(int, reply.split())
        counts = tuple(
            Count(counted, left_ms / 1000, recent, recent_left_ms / 1000)
            for counted, left_ms, recent, recent_left_ms in zip(*[iter(states)] * 4, strict=True)
        )
        return Counted(within == 1, counts, was_remembered == 1)

    async def remember(self, account: Account) -> None:
        """Store that the account has succeeded from the address, unless Redis is unavailable."""
        with suppress(RedisFailure):
            await self._run(_REMEMBER, [self._known_key(account)], [account.peer, KNOWN_S, KNOWN_ADDRESSES])

    async def check(self) -> None:
        """Count a request of no client: a server that replies may still refuse to count.

        Raises:
            RedisFailure: Redis does not count.
        """
        await self._run(_HIT, [self._key(_CHECK)], ["", KNOWN_S, *_CHECK[2:]])

    def _key(self, rule: Rule) -> str:
        # The rate is part of the key: another one starts with new counters.
        return f"{self._prefix}/{rule.limit}/{rule.key}/{rule.amount}/{rule.window_s}/second"

    def _known_key(self, account: Account) -> str:
        return f"{self._prefix}//known/{account.key}"

    async def _run(self, script: str, keys: list[str], arguments: list[str | float]) -> Any:
        try:
            reply = await self._run_script(script, (len(keys), *keys, *arguments))
        except RedisFailure as failure:
            self._record_failure(failure)
            raise
        if self._is_failing:
            self._is_failing = False
            _storage_up().set(1)
            log.warning("rate limit storage recovered")
        return reply

    async def _run_script(self, script: str, arguments: tuple[str | float, ...]) -> Any:
        started_at = time.monotonic()
        try:
            return await self._redis.execute("EVALSHA", _DIGESTS[script], *arguments)
        except RedisFailure as failure:
            if failure.kind == "script":
                return await self._redis.execute("EVAL", script, *arguments)
            if failure.is_of_command or time.monotonic() - started_at >= _REPLY_S:
                raise
        # Once more on a new connection, which leads to the new primary after a failover. Before the first
        # failure the request may have been counted, and is counted twice then.
        return await self._redis.execute("EVAL", script, *arguments)

    def _record_failure(self, failure: RedisFailure) -> None:
        if self._is_failing:
            return
        self._is_failing = True
        _storage_up().set(0)
        log.error("rate limit storage failed", error=str(failure), consequence=self._consequence)
