"""Database of a running application: engine, pool maintenance, readiness checks."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio
import structlog
from litestar.plugins import InitPlugin
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from .._base.errors import DatabaseUnavailable
from .._base.metrics import gauge
from .._base.settings import DatabaseSettings
from .._driver.pool import PoolMetrics
from .._driver.statements import StatementMonitor
from .._driver.transactions import BEGIN, READING
from .._session.unit_of_work import Sessions
from .engine import Share, pooled_engine

log = structlog.get_logger(__name__)

DISPOSE_S = 2.0
"""Seconds that closing all connections may take."""
_FRESH_S = 1.0
_MAINTENANCE_EVERY_S = 1.0
_READ_ONLY = text("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean")


class Database:
    """Engine, pool and session factory of a running application."""

    def __init__(self, settings: DatabaseSettings, share: Share, *, name: str) -> None:
        self._monitor = StatementMonitor(settings.target)
        self.engine, self.pool = pooled_engine(settings, share, self._monitor, name=name)
        # On SQLite, checks must not wait for the write lock.
        self.reading = self.engine.execution_options(**{BEGIN: READING})
        self.sessions = Sessions(self.engine, self.pool, settings)
        self._minimum = share.minimum
        self._is_file = settings.target.dialect == "sqlite"
        self._idle_timeout_s = settings.idle_timeout_s
        self._metrics = PoolMetrics(self.pool, minimum=share.minimum)
        self._check_lock = asyncio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Maintain the pool while the block runs, then close all connections."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._maintain_pool)
                try:
                    yield
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            await self._close()

    async def _maintain_pool(self) -> None:
        """Keep the minimum size, close idle connections and update the metrics, once a second."""
        while True:
            try:
                await self._resize_pool()
            except DatabaseUnavailable as error:
                log.debug("minimum pool size not reached", reason=error.reason)
            except Exception as error:  # noqa: BLE001 - the pool works without maintenance; the next run retries
                log.warning("pool maintenance failed", error=repr(error))
            self._metrics.update()
            await anyio.sleep(_MAINTENANCE_EVERY_S)

    async def _resize_pool(self) -> None:
        # A file is opened by a thread, which must not outlive the event loop.
        with anyio.CancelScope(shield=self._is_file):
            # `run_sync` provides the greenlet; the session itself is not used.
            await AsyncSession().run_sync(lambda _: self._close_and_open())

    def _close_and_open(self) -> None:
        self.pool.close_unneeded(minimum=self._minimum, idle_timeout_s=self._idle_timeout_s)
        while self.pool.open < self._minimum:
            self.pool.open_one()

    async def check(self) -> None:
        """Check that the database answers; skipped if it answered any statement within the last second.

        A busy pool would otherwise delay the check, which would report an outage.

        Raises:
            DatabaseUnavailable: It does not answer.
        """
        if time.monotonic() - self._monitor.answered_at < _FRESH_S:
            return
        async with self.check_connection() as connection:
            await connection.execute(text("SELECT 1"))

    @asynccontextmanager
    async def check_connection(self) -> AsyncGenerator[AsyncConnection]:
        """Check out a connection for a readiness check.

        Checks run one at a time: in parallel, each would keep a connection of its own from getting idle.
        """
        async with self._check_lock:
            self.pool.prefer_read_only = False
            async with self.reading.connect() as connection:
                yield connection

    async def _close(self) -> None:
        log.info("closing database connections")
        with anyio.move_on_after(DISPOSE_S, shield=True) as scope:
            await self.sessions.commits.wait(timeout_s=DISPOSE_S / 2)
            await self._close_idle()
            await self.engine.dispose()
        if scope.cancelled_caught:
            log.warning("database connections dropped: closing timed out")
        self._metrics.clear()

    async def _close_idle(self) -> None:
        """Close idle connections to PostgreSQL concurrently; one after another, 200 take seconds."""
        drivers = [driver for driver in self.pool.idle_drivers() if hasattr(driver, "is_closed")]
        # The pool closes or drops connections for which this fails.
        await asyncio.gather(*(driver.close() for driver in drivers), return_exceptions=True)


class WritableCheck(InitPlugin):
    """Non-critical readiness check: reports a read-only database without failing readiness."""

    readiness_name = "database_writes"
    readiness_critical = False

    def __init__(self, database: Callable[[], Database]) -> None:
        self._database = database

    async def check_ready(self) -> None:
        """Raise when the database refuses writes.

        Raises:
            DatabaseUnavailable: It is read-only, or does not answer.
        """
        async with self._database().check_connection() as connection:
            is_read_only = await connection.scalar(_READ_ONLY)
        meaning = "Whether the database accepts writes, as of the last check."
        gauge("db_writable", meaning, "livemin").set(not is_read_only)
        if is_read_only:
            raise DatabaseUnavailable("the database is read only")
