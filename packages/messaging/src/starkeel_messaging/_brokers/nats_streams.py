"""Events in JetStream of NATS, in one stream for each topic."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

from nats.errors import Error, MaxPayloadError
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg, StorageType, StreamConfig, StreamInfo
from nats.js.errors import NoStreamResponseError, NotFoundError
from starkeel_config import Secret
from starkeel_db import BrokerUnavailableError

from .base import MAX_READ_BYTES, Batch, Entry, Lag, Outgoing, malformed_position
from .nats_client import CONNECT_S, NatsClient

T = TypeVar("T")

_CREATE_S: Final = 1.0
_REPLY_S: Final = 2.0
_AT_ONCE: Final = 50
"""Number of events that are requested together."""
_POSITION: Final = re.compile(r"[0-9]{1,18}")


class NatsStreams:
    """Keeps the events of each topic in a stream `events-TOPIC` with the subject `events.TOPIC`.

    Positions are sequence numbers. Events are read by them, without a consumer of JetStream, which would have
    a position of its own.

    Args:
        url: URL of a server from 2.9 with JetStream; `?replicas=3` for streams of a cluster.
        credentials: Content of a file `.creds`, or a seed.
        kept_events: Number of events of a topic that are kept.
        kept_s: Seconds for which they are kept.
    """

    def __init__(self, url: Secret, *, credentials: Secret | None, kept_events: int, kept_s: float) -> None:
        self._url = url
        self._kept_events = kept_events
        self._kept_s = kept_s
        self._client = NatsClient(url, credentials)
        self._streams = JetStreamContext(self._client, timeout=_REPLY_S)
        self._appended = asyncio.Event()
        self._watched: set[str] = set()
        self._identified: int | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Keep a connection open; the first attempt may fail, too."""
        connecting = asyncio.ensure_future(self._client.keep_connecting())
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(CONNECT_S):
                    await asyncio.shield(connecting)
            yield
        finally:
            connecting.cancel()
            with suppress(Error, OSError, asyncio.CancelledError):
                await self._client.close()

    async def append(self, topic: str, events: Sequence[Outgoing]) -> None:
        """Append events, those of a key one by one; JetStream ignores an id of the last two minutes.

        Raises:
            BrokerUnavailableError: They are not accepted, or another stream may have taken the place since
                the last `identity`: it would receive these events before those that it lacks.
        """
        if self._identified not in {None, self._interruptions}:
            raise BrokerUnavailableError("the connection has been opened again")
        by_key: dict[str, list[Outgoing]] = {}
        for event in events:
            by_key.setdefault(event.key, []).append(event)
        found = await asyncio.gather(
            *(self._append_in_order(topic, each) for each in by_key.values()), return_exceptions=True
        )
        for error in found:
            if error is not None:
                raise error

    async def _append_in_order(self, topic: str, events: Sequence[Outgoing]) -> None:
        for event in events:
            try:
                await self._append(topic, event)
            except _NoStreamError:
                if self._identified is not None:
                    raise BrokerUnavailableError("NATS has no stream any more") from None
                await self._create(topic)
                await self._append_to_new(topic, event)

    async def _append_to_new(self, topic: str, event: Outgoing) -> None:
        # The server confirms the creation of a stream a moment before the stream receives.
        ends_at = time.monotonic() + _CREATE_S
        while True:
            try:
                return await self._append(topic, event)
            except _NoStreamError:
                if time.monotonic() >= ends_at:
                    raise BrokerUnavailableError("NATS has no stream yet") from None
            await asyncio.sleep(_CREATE_S / 50)

    async def _append(self, topic: str, event: Outgoing) -> None:
        headers = {"Nats-Msg-Id": event.event_id}
        await self._call(lambda: self._streams.publish(_subject(topic), event.body, headers=headers))

    async def read(self, topic: str, *, after: str, limit: int, wait_s: float) -> Batch:
        """Return the events after a sequence number."""
        ends_at = time.monotonic() + wait_s
        while True:
            await self._watch(topic)
            self._appended.clear()
            batch = await self._read(topic, after, limit)
            left_s = ends_at - time.monotonic()
            if batch.entries or left_s <= 0:
                return batch
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._appended.wait()

    async def lag(self, topic: str, *, after: str) -> Lag:
        """Return how many sequence numbers follow one."""
        info = await self._info(topic)
        last = 0 if info is None else info.state.last_seq
        first = int(after or 0) + 1
        if info is None or last < first:
            return Lag(0, 0.0)
        oldest = await self._message(topic, first, is_next=True)
        if oldest is None or oldest.seq is None or oldest.time is None:
            return Lag(0, 0.0, has_gap=bool(after))
        oldest_s = (datetime.now(UTC) - oldest.time).total_seconds()
        return Lag(last - oldest.seq + 1, max(0.0, oldest_s))

    async def identity(self, topic: str, *, is_own: bool) -> str:
        """Return when the stream was created."""
        interruptions = self._interruptions
        info = await self._info(topic)
        if is_own:
            info = await self._create(topic) if info is None else await self._configured(info)
            self._identified = interruptions
        return "" if info is None or info.created is None else info.created.isoformat()

    def rewound(self, position: str, *, seconds: float) -> str:
        """Return the start: another stream has other numbers."""
        del position, seconds
        return ""

    async def before(self, topic: str, start: datetime | str) -> str:
        """Return the number before the first event from a time on, found by bisection, or before another."""
        if isinstance(start, str):
            if not _POSITION.fullmatch(start):
                raise malformed_position(start)
            return str(max(0, int(start) - 1))
        info = await self._info(topic)
        if info is None:
            return "0"
        low, high = info.state.first_seq, info.state.last_seq + 1
        while low < high:
            middle = (low + high) // 2
            found = await self._message(topic, middle)
            if found is None or found.time is None or found.time < start:
                low = middle + 1
            else:
                high = middle
        return str(max(0, low - 1))

    def order(self, position: str) -> tuple[int, ...]:
        """Return the sequence number."""
        return (int(position or 0),)

    @property
    def _interruptions(self) -> int:
        """Number of connections that were opened again, after which another server may reply."""
        return self._client.stats["reconnects"]

    async def _read(self, topic: str, after: str, limit: int) -> Batch:
        info = await self._info(topic)
        first = int(after or 0) + 1
        if info is None or info.state.last_seq < first:
            return Batch([], has_gap=False)
        oldest = await self._message(topic, first, is_next=True)
        if oldest is None or oldest.seq is None:
            return Batch([], has_gap=bool(after))
        # Before its first event a consumer expects only what is there.
        has_gap = bool(after) and oldest.seq > first
        entries = [Entry(str(oldest.seq), oldest.data or b"")]
        number, end = oldest.seq + 1, min(info.state.last_seq + 1, oldest.seq + limit)
        left = MAX_READ_BYTES - len(entries[0].body)
        largest = max(1, len(entries[0].body))
        while number < end and left >= largest:
            # As many as fit if none is larger than those before.
            chunk = range(number, min(end, number + max(1, min(_AT_ONCE, left // largest))))
            found = await asyncio.gather(*(self._message(topic, each) for each in chunk))
            for each, message in zip(chunk, found, strict=True):
                has_gap |= message is None
                if message is not None:
                    entries.append(Entry(str(each), message.data or b""))
                    left -= len(entries[-1].body)
                    largest = max(largest, len(entries[-1].body))
            number = chunk.stop
        return Batch(entries, has_gap)

    async def _message(self, topic: str, number: int, *, is_next: bool = False) -> RawStreamMsg | None:
        """Return the event with a number, or the next one, if there is one."""
        subject = _subject(topic) if is_next else None
        try:
            return await self._call(
                lambda: self._streams.get_msg(_stream(topic), number, subject=subject, next=is_next)
            )
        except _NoStreamError:
            return None

    async def _info(self, topic: str) -> StreamInfo | None:
        try:
            return await self._call(lambda: self._streams.stream_info(_stream(topic)))
        except _NoStreamError:
            return None

    async def _create(self, topic: str) -> StreamInfo:
        replicas = parse_qs(urlsplit(self._url.reveal()).query).get("replicas", ["1"])[0]
        config = StreamConfig(
            name=_stream(topic),
            subjects=[_subject(topic)],
            max_msgs=self._kept_events,
            max_age=self._kept_s,
            storage=StorageType.FILE,
            num_replicas=int(replicas),
        )
        return await self._call(lambda: self._streams.add_stream(config))

    async def _configured(self, info: StreamInfo) -> StreamInfo:
        """Change what the stream keeps if the settings have changed."""
        config = info.config
        if (config.max_msgs, round(config.max_age or 0)) == (self._kept_events, round(self._kept_s)):
            return info
        kept = config.evolve(max_msgs=self._kept_events, max_age=self._kept_s)
        return await self._call(lambda: self._streams.update_stream(kept))

    async def _watch(self, topic: str) -> None:
        """Subscribe to what is published, which only ends the wait."""
        if topic in self._watched:
            return

        async def wake(_: Any) -> None:
            self._appended.set()

        await self._call(lambda: self._client.subscribe(_subject(topic), cb=wake))
        self._watched.add(topic)

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        if not self._client.is_connected:
            raise BrokerUnavailableError("there is no connection to NATS")
        try:
            async with asyncio.timeout(_REPLY_S):
                return await call()
        except (NotFoundError, NoStreamResponseError) as error:
            raise _NoStreamError from error
        except MaxPayloadError:
            # Of this event only: it is refused.
            raise
        except (Error, OSError, TimeoutError) as error:
            raise BrokerUnavailableError(f"NATS: {type(error).__name__}") from error


class _NoStreamError(Exception):
    """There is no such stream, or no such event in it."""


def _stream(topic: str) -> str:
    return "events-" + re.sub(r"[^A-Za-z0-9_-]", "_", topic)


def _subject(topic: str) -> str:
    return "events." + re.sub(r"[^A-Za-z0-9_-]", "_", topic)
