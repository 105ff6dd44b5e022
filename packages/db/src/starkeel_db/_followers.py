"""Those who follow events as they happen, whichever process they happen in."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import structlog
from sqlalchemy import Table
from sqlalchemy.exc import SQLAlchemyError

from ._bell import Bell
from ._errors import DatabaseUnavailable
from ._origin import record_receipt
from ._outbox_table import Event, events_after, last_position
from ._plugin import DatabasePlugin

log = structlog.get_logger(__name__)

_ASK_EVERY_S: Final = 0.2
"""Seconds until an event of another process is seen; one of this process is seen at once."""
_PAUSE_S: Final = 1.0
_ASK_S: Final = 2.0
_MOST_UNREAD: Final = 500


class Follower:
    """One who follows the events of a key.

    Args:
        key: Which.
        seen: Position of the last event that it knows.
        bell: Rung when there is room again.
    """

    def __init__(self, key: str, *, seen: int, bell: Bell) -> None:
        self.key = key
        self.seen = seen
        self._bell = bell
        self._unread: asyncio.Queue[Event] = asyncio.Queue()

    @property
    def has_room(self) -> bool:
        """Whether more may be read for it: a slow one costs a bounded amount of memory, and loses nothing."""
        return self._unread.qsize() < _MOST_UNREAD

    async def next(self) -> Event:
        """Wait for the next event; none is lost when the wait is cancelled."""
        was_full = not self.has_room
        event = await self._unread.get()
        if was_full:
            self._bell.ring()
        record_receipt(event)
        return event

    def tell(self, event: Event) -> None:
        """Hand an event over, unless it is known already."""
        if event.position > self.seen:
            self._unread.put_nowait(event)
            self.seen = event.position


class Followers:
    """All of one process, who ask together.

    Args:
        database: Where the events are.
        table: The outbox.
        bell: Rung when this process has committed an event.
    """

    def __init__(self, database: DatabasePlugin, table: Table, bell: Bell) -> None:
        self._database = database
        self._table = table
        self._bell = bell
        self._all: set[Follower] = set()

    @asynccontextmanager
    async def following(self, key: str, *, after: int | None) -> AsyncGenerator[Follower]:
        """Follow a key's events.

        Args:
            key: Which.
            after: Position of the last event that is known; None for what happens from now on.

        Raises:
            DatabaseUnavailable: It cannot be found out where `now` is.
        """
        if after is None:
            async with self._database.session(reads_only=True) as session:
                after = await last_position(session, self._table, key)
        follower = Follower(key, seen=after, bell=self._bell)
        self._all.add(follower)
        self._bell.ring()
        try:
            yield follower
        finally:
            self._all.discard(follower)

    async def run(self) -> None:
        """Ask for news until cancelled."""
        is_away = False
        while True:
            await self._bell.wait(at_most_s=_ASK_EVERY_S)
            try:
                while self._all and await self._ask_undisturbed():
                    await anyio.lowlevel.checkpoint()
            except (DatabaseUnavailable, SQLAlchemyError) as error:
                if not is_away:
                    log.warning("events interrupted", reason=getattr(error, "reason", type(error).__name__))
                is_away = True
                await anyio.sleep(_PAUSE_S)
            else:
                if is_away:
                    log.info("events resumed")
                is_away = False

    async def _ask_undisturbed(self) -> bool:
        # A stop waits for the answer instead of abandoning a connection in the middle of a statement.
        with anyio.move_on_after(_ASK_S, shield=True):
            return await self._ask()
        return False

    async def _ask(self) -> bool:
        """Tell everybody what is new; whether there may be more."""
        asking = [follower for follower in self._all if follower.has_room]
        seen: dict[str, int] = {}
        for follower in asking:
            seen[follower.key] = min(follower.seen, seen.get(follower.key, follower.seen))
        if not seen:
            return False
        async with self._database.session(reads_only=True) as session:
            events = await events_after(session, seen)
        by_key: dict[str, list[Follower]] = {}
        for follower in asking:
            by_key.setdefault(follower.key, []).append(follower)
        for event in events:
            for follower in by_key[event.key]:
                follower.tell(event)
        return bool(events)
