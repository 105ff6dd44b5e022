"""The database of a running application: engine, pool, sessions."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import structlog
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from ._engine import Share, pool_of, pooled_engine
from ._session import Sessions
from ._settings import DatabaseSettings
from ._sqlite import BEGIN, READING
from ._upkeep import Upkeep

log = structlog.get_logger(__name__)

DISPOSE_S = 2.0
"""Seconds that closing all connections may take."""
_FRESH_S = 1.0


class Database:
    """An open database.

    Args:
        settings: Its settings.
        share: What this process may use of its connections.
        name: Of the service.
    """

    def __init__(self, settings: DatabaseSettings, share: Share, *, name: str) -> None:
        self.engine = pooled_engine(settings, share, name=name)
        # On SQLite: looking does not wait for those who write.
        self.reading = self.engine.execution_options(**{BEGIN: READING})
        self.sessions = Sessions(
            self.engine,
            statement_timeout_s=settings.statement_timeout_s,
            knows_limits=not settings.pgbouncer,
        )
        self._upkeep = Upkeep(pool_of(self.engine), share, idle_timeout_s=settings.idle_timeout_s)
        self._answered_at = float("-inf")
        self._one_look = asyncio.Lock()
        event.listen(self.engine.sync_engine, "after_cursor_execute", self._note_answer)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Look after the pool, and close every connection in the end."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._upkeep.run)
                try:
                    yield
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            await self._close()

    async def check(self) -> None:
        """Raise when the database does not answer.

        One that answered a request within a second is not asked: a pool that is busy is no reason to be taken
        for dead, and waiting for a connection of it would be.

        Raises:
            DatabaseUnavailable: It does not.
        """
        if time.monotonic() - self._answered_at < _FRESH_S:
            return
        async with self.looking() as connection:
            await connection.execute(text("SELECT 1"))

    @asynccontextmanager
    async def looking(self) -> AsyncGenerator[AsyncConnection]:
        """A connection to see by how the database is.

        One look at a time: those at once, each second, would keep a connection each from getting old.
        """
        async with self._one_look, self.reading.connect() as connection:
            yield connection

    def _note_answer(self, _connection: Connection, *_: Any) -> None:
        self._answered_at = time.monotonic()

    async def _close(self) -> None:
        log.info("closing database connections")
        with anyio.move_on_after(DISPOSE_S, shield=True) as scope:
            await self._part()
            await self.engine.dispose()
        if scope.cancelled_caught:
            log.warning("database connections dropped: they could not be closed in time")
        self._upkeep.clear()

    async def _part(self) -> None:
        """Take leave of PostgreSQL on all connections at once: in turn, two hundred take seconds."""
        drivers = [one for one in pool_of(self.engine).idle_drivers() if hasattr(one, "is_closed")]
        # What fails here is closed by the pool, or dropped.
        await asyncio.gather(*(one.close() for one in drivers), return_exceptions=True)
