"""Events in Redis streams, one for each topic."""

import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from starkeel_config import Secret
from starkeel_db import BrokerUnavailableError
from starkeel_redis import RedisClient, RedisFailure

from .base import MAX_READ_BYTES, Batch, Entry, Lag, Outgoing, malformed_position

_ID: Final = re.compile(r"[0-9]{1,18}(-[0-9]{1,18})?")
_MAX_NUMBER: Final = 2**64 - 1
_REPLY_S: Final = 0.5
_READ_REPLY_S: Final = 5.0
# An entry has its number and the id of the entry before it, so that a reader finds deleted ones and counts
# those that wait without reading them. Redis itself has neither without a consumer group.
_APPEND: Final = """
local last = redis.call('HMGET', KEYS[2], 'number', 'id')
local number, id = tonumber(last[1] or 0), last[2] or ''
for index = 3, #ARGV do
    number = number + 1
    local text = string.format('%.0f', number)
    id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*',
        'event', ARGV[index], 'number', text, 'previous', id)
    redis.call('HSET', KEYS[2], 'number', text, 'id', id)
end
local oldest = redis.call('TIME')[1] - ARGV[2]
-- Redis 6.0 has no MINID.
redis.pcall('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', oldest * 1000))
"""
# XREAD has no limit of bytes. Few at a time, because the server has a copy of them meanwhile.
_READ: Final = """
local found, bytes, after, left = {}, 0, ARGV[1], tonumber(ARGV[2])
while left > 0 do
    local next = redis.call('XREAD', 'COUNT', math.min(left, 8), 'STREAMS', KEYS[1], after)
    if not next or #next == 0 then
        break
    end
    for _, entry in ipairs(next[1][2]) do
        local size = 0
        for _, value in ipairs(entry[2]) do
            size = size + #value
        end
        if #found + tonumber(ARGV[4]) > 0 and bytes + size > tonumber(ARGV[3]) then
            return found
        end
        found[#found + 1], bytes, after, left = entry, bytes + size, entry[1], left - 1
    end
end
return found
"""
_MEASURE: Final = """
local last = redis.call('HMGET', KEYS[2], 'number', 'id')
local found = redis.call('XREAD', 'COUNT', 1, 'STREAMS', KEYS[1], ARGV[1])
if not found or #found == 0 then
    return {0, '', last[2] or ''}
end
local entry = found[1][2][1]
for index = 1, #entry[2], 2 do
    if entry[2][index] == 'number' then
        return {tonumber(last[1] or 0) - tonumber(entry[2][index + 1]) + 1, entry[1], last[2] or ''}
    end
end
return {1, entry[1], last[2] or ''}
"""


class RedisStreams:
    """Keeps the events of each topic in the stream `events:TOPIC`, and its last number beside it.

    Args:
        url: URL of a Redis from 6.0.
        kept_events: Approximate number of events of a topic that are kept.
        kept_s: Seconds for which they are kept; without effect before Redis 6.2.
    """

    def __init__(self, url: Secret, *, kept_events: int, kept_s: float) -> None:
        self._kept_events = kept_events
        self._kept_s = kept_s
        self._writing = RedisClient(url, reply_s=_REPLY_S, setting="BROKER_URL")
        # A blocking read would delay commands behind it on the same connection.
        self._reading = RedisClient(url, reply_s=_READ_REPLY_S, setting="BROKER_URL")
        self._identified: int | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Keep the connections open."""
        async with self._writing.running(), self._reading.running():
            yield

    async def append(self, topic: str, events: Sequence[Outgoing]) -> None:
        """Append events to the stream; a script ends with the first event that is refused.

        Raises:
            BrokerUnavailableError: They are not accepted, or another server may have taken the place since
                the last `identity`: it would receive these events before those that it lacks.
        """
        if self._identified not in {None, self._writing.interruptions}:
            raise BrokerUnavailableError("the connection has been opened again")
        bodies = [event.body for event in events]
        await self._evaluate(_APPEND, topic, self._kept_events, round(self._kept_s), *bodies)

    async def read(self, topic: str, *, after: str, limit: int, wait_s: float) -> Batch:
        """Return the entries after an id."""
        found = await self._read(topic, after or "0-0", limit, MAX_READ_BYTES)
        if not found and wait_s > 0:
            wait = ("BLOCK", max(1, round(wait_s * 1000)), "STREAMS", _key(topic), after or "0-0")
            first = await _execute(self._reading, "XREAD", "COUNT", 1, *wait)
            found = first[0][1] if first else []
            if found and limit > 1:
                left = MAX_READ_BYTES - sum(map(len, found[0][1]))
                found += await self._read(topic, found[0][0], limit - 1, left, has_first=True)
        entries, has_gap = [], False
        for entry_id, fields in found:
            pairs = _pairs(fields)
            # Before its first event a consumer expects only what is there.
            has_gap |= bool(after) and _parts(pairs.get(b"previous", b"")) > _parts(after.encode())
            after = entry_id.decode()
            entries.append(Entry(after, pairs.get(b"event", b"")))
        return Batch(entries, has_gap)

    async def _read(
        self, topic: str, after: str | bytes, limit: int, most: int, *, has_first: bool = False
    ) -> list[Any]:
        """Return the entries after an id, within a number of bytes; without `has_first` always one."""
        arguments = (after, limit, most, int(has_first))
        return list(await _execute(self._reading, "EVAL", _READ, 1, _key(topic), *arguments))

    async def lag(self, topic: str, *, after: str) -> Lag:
        """Return how many entries follow an id; ids begin with the milliseconds of their time."""
        waiting, first, last = await self._evaluate(_MEASURE, topic, after or "0-0")
        if not waiting:
            return Lag(0, 0.0, has_gap=bool(after) and _parts(last) > _parts(after.encode()))
        return Lag(max(1, waiting), max(0.0, time.time() - _parts(first)[0] / 1000))

    async def identity(self, topic: str, *, is_own: bool) -> str:
        """Return the replication id, which changes with the primary."""
        del topic
        interruptions = self._writing.interruptions
        info = await _execute(self._writing, "INFO", "replication")
        if is_own:
            self._identified = interruptions
        lines = info.decode(errors="replace").splitlines()
        return next((line.partition(":")[2] for line in lines if line.startswith("master_replid:")), "")

    def rewound(self, position: str, *, seconds: float) -> str:
        """Return the id of `seconds` before."""
        if not position:
            return position
        return f"{max(0, _parts(position.encode())[0] - round(seconds * 1000))}-0"

    async def before(self, topic: str, start: datetime | str) -> str:
        """Return the highest possible id before a time or an id."""
        del topic
        if isinstance(start, str):
            if not _ID.fullmatch(start):
                raise malformed_position(start)
            milliseconds, number = _parts(start.encode())
        else:
            milliseconds, number = max(0, int(start.timestamp() * 1000)), 0
        if number:
            return f"{milliseconds}-{number - 1}"
        return f"{milliseconds - 1}-{_MAX_NUMBER}" if milliseconds else "0-0"

    def order(self, position: str) -> tuple[int, ...]:
        """Return the parts of an id."""
        return _parts(position.encode())

    async def _evaluate(self, script: str, topic: str, *arguments: str | bytes | float) -> Any:
        return await _execute(
            self._writing, "EVAL", script, 2, _key(topic), f"{_key(topic)}:last", *arguments
        )


def _key(topic: str) -> str:
    return f"events:{topic}"


def _pairs(fields: Sequence[bytes]) -> Mapping[bytes, bytes]:
    return dict(zip(fields[::2], fields[1::2], strict=False))


def _parts(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds or 0), int(number or 0)


async def _execute(client: RedisClient, *command: str | bytes | float) -> Any:
    try:
        return await client.execute(*command)
    except RedisFailure as failure:
        raise BrokerUnavailableError(str(failure)) from failure
