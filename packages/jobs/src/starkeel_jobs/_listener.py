"""Wakes a worker when another process enqueues a job, by PostgreSQL's LISTEN and NOTIFY."""

import asyncio
from typing import Any, Final

import structlog
from starkeel_db import DatabasePlugin

from ._enqueuing import CHANNEL
from ._outage import AWAY, log_failure
from ._wakeup import Wakeup

log = structlog.get_logger(__name__)

_CHECK_EVERY_S: Final = 15.0
_CHECK_TIMEOUT_S: Final = 5.0
_LEAST_CONNECTIONS: Final = 3
"""Size of the pool from which one of its connections may be used for this."""


class Listener:
    """Keeps one connection of the pool to listen on; without it, jobs are found by polling.

    Args:
        database: The database; PostgreSQL.
        wakeup: Is woken at each notification, and after each connection, since some may have been missed.
    """

    def __init__(self, database: DatabasePlugin, wakeup: Wakeup) -> None:
        self._database = database
        self._wakeup = wakeup

    async def run(self) -> None:
        """Listen until cancelled; connect again when the connection is lost."""
        if self._database.settings.pgbouncer:
            log.info("jobs of other processes are polled", reason="DB_PGBOUNCER is true")
            return
        failures = 0
        while True:
            try:
                if not await self._listen():
                    return
                failures = 0
            except Exception as error:  # noqa: BLE001 - the database may be back later
                log_failure("connection for notifications lost", error)
                failures += 1
            await asyncio.sleep(AWAY.pause_s(max(0, failures - 1)))

    async def _listen(self) -> bool:
        """Listen until the connection is lost; return False if the pool has no connection to spare."""
        async with self._database.session() as session:
            pool: Any = session.get_bind().pool  # type: ignore[union-attr]  # of an engine
            if pool.size() < _LEAST_CONNECTIONS:
                log.info("jobs of other processes are polled", reason="the connection pool is small")
                return False
            # Without a transaction, in which no notification arrives.
            options = {"isolation_level": "AUTOCOMMIT"}
            connection = await session.connection(execution_options=options)
            driver: Any = (await connection.get_raw_connection()).driver_connection
            lost = asyncio.Event()
            driver.add_termination_listener(lambda _: lost.set())
            try:
                await driver.add_listener(CHANNEL, lambda *_: self._wakeup.wake())
                self._wakeup.wake()
                await self._until_lost(driver, lost)
            finally:
                # Its next user must not receive notifications.
                await connection.invalidate()
        return True

    async def _until_lost(self, driver: Any, lost: asyncio.Event) -> None:
        while not lost.is_set():
            try:
                async with asyncio.timeout(_CHECK_EVERY_S):
                    await lost.wait()
            except TimeoutError:
                # A server that has disappeared closes nothing.
                await driver.fetchval("SELECT 1", timeout=_CHECK_TIMEOUT_S)
