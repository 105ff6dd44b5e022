"""Subscriptions to events of all processes: background tasks read the table for all subscribers.

One task polls for new events of all keys together. Another replays past events, to a few subscribers at a
time and a page in each turn, so that it does not delay new events. Each uses one connection at a time.
"""

import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import islice
from typing import Final

import anyio
import structlog
from sqlalchemy import Table, func, select

from .._base.errors import reason_of
from .._plugin import DatabasePlugin
from .._retention import shielded, unexpected
from .changed_keys import ChangedKeys
from .reading import MAX_KEYS, PAGE, read_gaps, read_pages
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
_MAX_QUEUED: Final = PAGE
"""Number of events that a subscription has not taken from which it is given further ones in turns, as past
events: it needs memory for two pages at most."""


class Subscriptions:
    """All subscriptions of a process, which share their queries.

    The events of a key that this process has committed are read at once, those of others by polling.
    """

    def __init__(self, database: DatabasePlugin, table: Table, *, retention: timedelta) -> None:
        self._database = database
        self._table = table
        self._retention = retention
        self._live: dict[str, dict[Subscription, None]] = {}
        self._due: dict[str, None] = {}
        """Keys that may have new events."""
        self._wake = Notifier()
        self._changed_keys = ChangedKeys(database)
        self._poll_at = 0.0
        self._replays = Replays()
        self._replay_due = Notifier()
        self._is_interrupted = False

    def notify(self, key: str) -> None:
        """Read the events of a key, of which this process has committed one."""
        if key in self._live:
            self._due[key] = None
            self._wake.notify_all()

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
            self._remove(subscription)
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
        if not self._due:
            left_s = max(0.0, self._poll_at - time.monotonic()) if self._live else math.inf
            await self._wake.wait(timeout_s=left_s)

    async def _wait_for_turn(self) -> None:
        await self._replay_due.wait(timeout_s=_REPLAY_EVERY_S if self._replays else math.inf)

    async def _read_new(self) -> bool:
        """Deliver new events; return whether there may be more."""
        if time.monotonic() >= self._poll_at:
            self._due |= dict.fromkeys(await self._changed_keys.poll(self._live.keys()))
            self._poll_at = time.monotonic() + _POLL_EVERY_S
        starts = self._next_starts()
        try:
            pages = await self._read(starts) if starts else []
        except BaseException:
            self._due |= dict.fromkeys(key for key, _ in starts)
            raise
        for (key, _), page in zip(starts, pages, strict=False):
            for subscription in self._live.get(key, ()):
                subscription.put(page)
            if len(page) == PAGE:
                self._due[key] = None
        # Those that were left out.
        self._due |= dict.fromkeys(key for key, _ in starts[len(pages) :])
        return bool(self._due)

    def _next_starts(self) -> list[tuple[str, int]]:
        """Take the next keys, each with the position after which to read."""
        starts = []
        for key in list(islice(self._due, MAX_KEYS)):
            # Before the query: an event that is committed meanwhile makes the key due again.
            del self._due[key]
            for subscription in [each for each in self._live.get(key, ()) if each.queued >= _MAX_QUEUED]:
                # It reads slowly: what it misses must not be read again for the others of its key.
                self._remove(subscription)
                self._replays.add(subscription)
            if key in self._live:
                starts.append((key, min(each.seen for each in self._live[key])))
        return starts

    async def _replay(self) -> bool:
        """Deliver a page of past events to some subscriptions; return whether there may be more turns."""
        chosen = self._replays.next()
        if not chosen:
            return False
        starts = [(each.key, each.seen) for each in chosen]
        pages = await self._read(starts)
        # After the pages: what is deleted meanwhile is reported as well.
        gaps = await read_gaps(self._database, self._table, starts, retention=self._retention)
        for subscription, page, gap in zip(chosen, pages, gaps, strict=True):
            # Position 0 stands for all stored events.
            if gap is not None and subscription.seen:
                subscription.put_gap(gap, page)
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
        self._live.setdefault(subscription.key, {})[subscription] = None
        self.notify(subscription.key)

    def _remove(self, subscription: Subscription) -> None:
        among = self._live.get(subscription.key)
        if among is not None and subscription in among:
            del among[subscription]
            if not among:
                del self._live[subscription.key]
