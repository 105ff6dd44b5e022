"""Operations on the topics of a service: list them, and receive or handle their events again."""

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from secrets import token_hex
from typing import Any, Final, NamedTuple

from starkeel_db import BrokerUnavailableError, DatabasePlugin
from starkeel_jobs import JobRequest, JobsPlugin

from ._brokers.base import BrokerClient, Lag
from ._cloud_event import MalformedEventError, decode
from ._events import EventHandler, handlers_by_type
from ._tables import Topics

_AT_ONCE: Final = 200
_RUN: Final = re.compile(r"[0-9a-f]{16}")


class ReplayError(Exception):
    """There is nothing to replay.

    Attributes:
        is_usage: Whether the arguments are wrong.
    """

    def __init__(self, problem: str, *, is_usage: bool = True) -> None:
        super().__init__(problem)
        self.is_usage = is_usage


class TopicRecord(NamedTuple):
    """A topic that the service receives.

    Attributes:
        topic: Its name.
        position: Position of the last received event; empty before the first one.
        holder: Process that receives it, if any.
        lag: What is not received yet; None if the broker does not answer or is not configured.
    """

    topic: str
    position: str
    holder: str | None
    lag: Lag | None


class Replayed(NamedTuple):
    """The result of a replay.

    Attributes:
        after: Position after which events are received or handled again.
        has_gap: Whether the broker has deleted some of the events that were to be replayed.
        events: Number of events that are handled again; None if they are received again.
    """

    after: str
    has_gap: bool
    events: int | None


class Progress(NamedTuple):
    """Progress of a replay that handles events again.

    Attributes:
        position: Position of the last event that is handled again; of the first one before that.
        events: Number of events that are handled again until now.
        share: Their share of the way from the first to the last position, from 0 to 1.
        run: Id of this replay: with it, an event that was handled again is left out.
        up_to: Position of the last event that will be handled again.
    """

    position: str
    events: int
    share: float
    run: str
    up_to: str


class Again(NamedTuple):
    """Options for handling events again.

    Attributes:
        run: Id of the replay that goes on, if it was interrupted.
        up_to: Position of the last event, if others were received after it.
        on_progress: Called before the first events, and after each transaction.
    """

    run: str | None
    up_to: str | None
    on_progress: Callable[[Progress], None]


class Replay:
    """The operations of the command `events`.

    Args:
        handlers: Functions that handle events.
        client: The broker, if there is one.
        database: Database with the positions and the jobs.
        topics: Statements on positions.
        jobs: Executes the handlers.
    """

    def __init__(
        self,
        handlers: Sequence[EventHandler[Any]],
        *,
        client: BrokerClient | None,
        database: DatabasePlugin,
        topics: Topics,
        jobs: JobsPlugin,
    ) -> None:
        self._handlers = handlers
        self._client = client
        self._database = database
        self._topics = topics
        self._jobs = jobs

    async def records(self) -> list[TopicRecord]:
        """Return the topics that the service has received, with what is waiting."""
        async with self._database.session(reads_only=True) as session:
            rows = await self._topics.holders(session)
        return [TopicRecord(*row, await self._lag(row[0], row[1])) for row in rows]

    async def replay(self, topic: str, start: datetime | str, *, again: Again | None) -> Replayed:
        """Receive the events of a topic again, from a time or a position on.

        Args:
            topic: Name of the service that publishes them.
            start: When the first of them was published, or its position.
            again: How to handle them again, too; without it only those that were not handled before are.

        Raises:
            ReplayError: An argument is wrong, or no event was received since.
            BrokerUnavailableError: The broker does not answer.
        """
        client = self._checked(topic)
        async with self._database.session(reads_only=True) as session:
            received = {row[0]: row[1] for row in await self._topics.holders(session)}.get(topic, "")
        if not received:
            raise ReplayError(f"no event of {topic!r} has been received yet", is_usage=False)
        after = await client.before(topic, start)
        first = await client.read(topic, after=after, limit=1, wait_s=0.0)
        if not first.entries or client.order(first.entries[0].position) > client.order(received):
            raise ReplayError(f"no event of {topic!r} has been received since, up to the position {received}")
        # Otherwise a consumer would report what was deleted as lost.
        after = await client.before(topic, first.entries[0].position)
        if again is not None:
            up_to = await self._up_to(client, topic, again, received=received)
            first_position = first.entries[0].position
            done = await self._handle_again(client, topic, again, first=first_position, up_to=up_to)
            return done._replace(has_gap=done.has_gap or first.has_gap)
        async with self._database.session() as session:
            await self._topics.move_back(session, topic, position=after)
        return Replayed(after, first.has_gap, None)

    def _checked(self, topic: str) -> BrokerClient:
        if self._client is None:
            raise ReplayError("BROKER_URL is not set")
        topics = sorted({handler.topic for handler in self._handlers})
        if topic not in topics:
            raise ReplayError(f"--topic: {topic!r} is none of the topics: {', '.join(topics)}")
        return self._client

    async def _up_to(self, client: BrokerClient, topic: str, again: Again, *, received: str) -> str:
        if again.run is not None and not _RUN.fullmatch(again.run):
            raise ReplayError(f"--run: {again.run!r} is no id of a replay")
        if again.up_to is None:
            return received
        try:
            await client.before(topic, again.up_to)
        except ValueError as error:
            raise ReplayError(f"--to: {error}") from error
        return min(again.up_to, received, key=client.order)

    async def _handle_again(
        self, client: BrokerClient, topic: str, again: Again, *, first: str, up_to: str
    ) -> Replayed:
        """Enqueue the handlers; each batch is a transaction of its own."""
        handlers = handlers_by_type([handler for handler in self._handlers if handler.topic == topic])
        run, start, count, has_gap = again.run or token_hex(8), await client.before(topic, first), 0, False
        position, after = first, start
        begin, end = (client.order(each)[0] for each in (first, up_to))
        while True:
            share = min(1.0, (client.order(position)[0] - begin) / max(1, end - begin))
            again.on_progress(Progress(position, count, share, run, up_to))
            batch = await client.read(topic, after=after, limit=_AT_ONCE, wait_s=0.0)
            entries = [each for each in batch.entries if client.order(each.position) <= client.order(up_to)]
            if not entries:
                return Replayed(start, has_gap, count)
            requests: list[JobRequest] = []
            for entry in entries:
                try:
                    event = decode(entry.body)
                except MalformedEventError:
                    continue
                count += 1
                requests += [each.request(event, run=run) for each in handlers.get(event.type, ())]
            if requests:
                async with self._database.session() as session:
                    await self._jobs.enqueue_all(session, requests)
            has_gap |= batch.has_gap
            position = after = entries[-1].position

    async def _lag(self, topic: str, position: str) -> Lag | None:
        if self._client is None:
            return None
        try:
            return await self._client.lag(topic, after=position)
        except BrokerUnavailableError:
            return None
