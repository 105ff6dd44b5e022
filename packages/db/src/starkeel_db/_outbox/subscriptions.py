"""Subscriptions to events of all processes: background tasks read the table for all subscribers.

One task polls for new events of all keys together. Another replays past events, to a few subscribers at a
time and a page in each turn, so that it does not delay new events. Each uses one connection at a time.
"""

import math
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import anyio
import structlog
from sqlalchemy import Table, func, select

from .._base.errors import reason_of
from .._plugin import DatabasePlugin
from .._retention import shielded, unexpected
from .reading import PAGE, read_pages
from .replays import Replays
from .subscription import Subscription
from .writer import Event, Notifier

log = structlog.get_logger(__name__)

_POLL_EVERY_S: Final = 0.2
"""Maximum delay of an event of another process; events of the same process arrive at once."""
_REPLAY_EVERY_S: Final = 0.5
"""Maximum delay of a turn that becomes free because a subscriber reads slowly."""
_PAUSE_S: Final = 1.0
_READ_S: Final = 2.0
_MAX_QUEUED: Final = 500


class Subscriptions:
    """All subscriptions of a process, which share their queries.

    `notifier` is notified when this process has committed an event.
    """

    def __init__(self, database: DatabasePlugin, table: Table, notifier: Notifier) -> None:
        self._database = database
        self._table = table
        self._notifier = notifier
        self._live: dict[Subscription, None] = {}
        self._replays = Replays()
        self._subscribed = Notifier()
        self._replay_due = Notifier()
        self._is_interrupted = False

    @asynccontextmanager
    async def following(self, key: str, *, after: int | None) -> AsyncGenerator[Subscription]:
        """Subscribe to the events of a key; see `OutboxPlugin.following`."""
        is_replay = after is not None
        if after is None:
            async with self._database.session(reads_only=True) as session:
                columns = self._table.c
                last = select(func.max(columns.position)).where(columns.key == key)
                after = await session.scalar(last) or 0
        subscription = Subscription(key, seen=after, on_taken=self._end_turn)
        if is_replay:
            self._replays.add(subscription)
            self._replay_due.notify_all()
        else:
            self._make_live(subscription)
        try:
            yield subscription
        finally:
            self._live.pop(subscription, None)
            self._replays.discard(subscription)

    async def run(self) -> None:
        """Deliver events until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._deliver, self._wait_for_events, self._read_new)
            tasks.start_soon(self._deliver, self._wait_for_turn, self._replay)

    async def _deliver(self, wait: Callable[[], Awaitable[None]], read: Callable[[], Awaitable[int]]) -> None:
        while True:
            await wait()
            try:
                # A stop must not abandon a connection in the middle of a statement.
                while await shielded(read, within_s=_READ_S):
                    await anyio.lowlevel.checkpoint()
            except Exception as error:
                if not self._is_interrupted:
                    log.warning("events interrupted", reason=reason_of(error), exc_info=unexpected(error))
                self._is_interrupted = True
                await anyio.sleep(_PAUSE_S)

    async def _wait_for_events(self) -> None:
        if self._live:
            await self._notifier.wait(timeout_s=_POLL_EVERY_S)
        else:
            # No commit wakes this task while there is no subscription.
            await self._subscribed.wait(timeout_s=math.inf)

    async def _wait_for_turn(self) -> None:
        await self._replay_due.wait(timeout_s=_REPLAY_EVERY_S if self._replays else math.inf)

    async def _read_new(self) -> bool:
        """Deliver new events; return whether there may be more."""
        by_key: defaultdict[str, list[Subscription]] = defaultdict(list)
        for subscription in list(self._live):
            if subscription.queued < _MAX_QUEUED:
                by_key[subscription.key].append(subscription)
            else:
                # It reads slowly: what it misses must not be read again for the others of its key.
                del self._live[subscription]
                self._replays.add(subscription)
        if not by_key:
            return False
        starts = [(key, min(each.seen for each in among)) for key, among in by_key.items()]
        pages = await self._read(starts)
        for (key, _), page in zip(starts, pages, strict=False):
            for subscription in by_key[key]:
                subscription.put(page)
        if len(pages) == len(starts):
            return any(pages)
        # Those that were left out come first.
        for key, _ in starts[: len(pages)]:
            for subscription in by_key[key]:
                if subscription in self._live:
                    self._live[subscription] = self._live.pop(subscription)
        return True

    async def _replay(self) -> bool:
        """Deliver a page of past events to some subscriptions; return whether there may be more turns."""
        chosen = self._replays.next()
        if not chosen:
            return False
        pages = await self._read([(each.key, each.seen) for each in chosen])
        for subscription, page in zip(chosen, pages, strict=True):
            subscription.put(page)
            if len(page) < PAGE and self._replays.discard(subscription):
                self._make_live(subscription)
        return True

    async def _read(self, starts: list[tuple[str, int]]) -> list[list[Event]]:
        pages = await read_pages(self._database, starts)
        if self._is_interrupted:
            log.info("events resumed")
        self._is_interrupted = False
        return pages

    def _end_turn(self) -> None:
        if self._replays:
            self._replay_due.notify_all()

    def _make_live(self, subscription: Subscription) -> None:
        self._live[subscription] = None
        self._subscribed.notify_all()
        self._notifier.notify_all()
