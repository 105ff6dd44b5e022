"""The database of a running application: engine, pool, sessions."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import anyio
import structlog
from litestar.plugins import InitPlugin
from sqlalchemy import Connection, event, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.util import greenlet_spawn

from .._base.errors import DatabaseUnavailable
from .._base.settings import DatabaseSettings
from .._driver.pool import ElasticPool, PoolMetrics
from .._driver.sqlite import BEGIN, READING
from .._session.session import Sessions
from .engine import Share, pool_of, pooled_engine

if TYPE_CHECKING:
    from prometheus_client import Gauge

log = structlog.get_logger(__name__)

DISPOSE_S = 2.0
"""Seconds that closing all connections may take."""
_FRESH_S = 1.0
_ROUND_S = 1.0
_READ_ONLY = text("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean")


class PoolMaintenance:
    """Looks after a pool, once a second.

    Args:
        pool: Which.
        share: What it may use.
        idle_timeout_s: Seconds a connection above the minimum may be unused.
    """

    def __init__(self, pool: ElasticPool, share: Share, *, idle_timeout_s: float) -> None:
        self._pool = pool
        self._share = share
        self._idle_timeout_s = min(idle_timeout_s, 86_400.0)
        self._metrics = PoolMetrics(pool, minimum=share.minimum)

    async def run(self) -> None:
        """Do so until cancelled."""
        while True:
            await self._tidy()
            self._metrics.tell()
            await anyio.sleep(_ROUND_S)

    def clear(self) -> None:
        """Have the metrics tell of no pool."""
        self._metrics.clear()

    async def _tidy(self) -> None:
        try:
            await greenlet_spawn(
                self._pool.close_unneeded,
                minimum=self._share.minimum,
                idle_timeout_s=self._idle_timeout_s,
            )
            while self._pool.open < self._share.minimum:
                await greenlet_spawn(self._pool.open_one)
        except DatabaseUnavailable as error:
            log.debug("minimum of connections not open", reason=error.reason)
        except Exception as error:  # noqa: BLE001 - the pool works without this; the next round tries again
            log.warning("connections not looked after", error=repr(error))


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
        self._maintenance = PoolMaintenance(
            pool_of(self.engine), share, idle_timeout_s=settings.idle_timeout_s
        )
        self._answered_at = float("-inf")
        self._one_look = asyncio.Lock()
        event.listen(self.engine.sync_engine, "after_cursor_execute", self._note_answer)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Look after the pool, and close every connection in the end."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._maintenance.run)
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
        self._maintenance.clear()

    async def _part(self) -> None:
        """Take leave of PostgreSQL on all connections at once: in turn, two hundred take seconds."""
        drivers = [one for one in pool_of(self.engine).idle_drivers() if hasattr(one, "is_closed")]
        # What fails here is closed by the pool, or dropped.
        await asyncio.gather(*(one.close() for one in drivers), return_exceptions=True)


class WritesCheck(InitPlugin):
    """A readiness check that decides nothing.

    Args:
        database: What gives the database while the application runs.
    """

    readiness_name = "database_writes"
    readiness_critical = False

    def __init__(self, database: Callable[[], Database]) -> None:
        self._database = database

    async def check_ready(self) -> None:
        """Raise when the database takes no writes.

        Raises:
            DatabaseUnavailable: It takes none, or does not answer.
        """
        async with self._database().looking() as connection:
            is_read_only = await connection.scalar(_READ_ONLY)
        _writable().set(0 if is_read_only else 1)
        if is_read_only:
            raise DatabaseUnavailable("the database is read only")


@cache
def _writable() -> "Gauge":
    from prometheus_client import Gauge

    return Gauge(
        "db_writable", "Whether the database takes writes, as readiness saw it.", multiprocess_mode="livemin"
    )
