"""Engines: a pooled one for requests, an unpooled one for the start and for migrations."""

import itertools
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import structlog
from sqlalchemy import make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool
from starkeel_config import Backoff

from .._base.dsn import DatabaseUrl, SqliteUrl
from .._base.errors import (
    DatabaseUnavailable,
    DatabaseUnreachableError,
    NotADatabase,
    NotADatabaseError,
    reason_of,
)
from .._base.settings import DatabaseSettings
from .._compat import check, connect_unnamed
from .._driver.last_statement import forget_last_statements
from .._driver.pool import ElasticPool, check_connections
from .._driver.stale_plans import heal_stale_plans
from .._driver.statements import Open, StatementMonitor
from .._driver.transactions import (
    BEGIN,
    READING,
    control_sqlite,
    enforce_deadlines,
    session_settings,
    switch_read_only,
)
from .._session.unit_of_work import note_failures

log = structlog.get_logger(__name__)

LOCK_TIMEOUT_S = 5
"""Seconds a migration waits for the lock of a table; meanwhile all other statements on the table queue up."""
_BACKOFF = Backoff(base_s=0.1, cap_s=2.0, jitter=0.0)


class Share(NamedTuple):
    """Pool size of one worker."""

    minimum: int
    maximum: int

    @classmethod
    def of(cls, settings: DatabaseSettings, *, index: int, workers: int) -> "Share":
        """Return the share of worker `index`, from 0: 20 connections for 3 workers are 7, 7 and 6."""
        limits = settings.min_connections, settings.max_connections
        minimum, maximum = (limit // workers + (index < limit % workers) for limit in limits)
        return cls(minimum, max(1, maximum))


def pooled_engine(
    settings: DatabaseSettings, share: Share, monitor: StatementMonitor, *, name: str
) -> tuple[AsyncEngine, ElasticPool]:
    """Create the engine for requests; `name` is sent as `application_name`. It opens no connection yet."""
    is_direct = not settings.pgbouncer
    limits = session_settings(settings.statement_timeout_s)
    opener = _opener(settings, settings.target, name, limits=limits, is_direct=is_direct)
    engine = _engine(
        settings,
        monitor.wrap(opener),
        is_direct=is_direct,
        poolclass=ElasticPool,
        pool_size=share.maximum,
        max_overflow=0,
        pool_timeout=settings.acquire_timeout_s,
        pool_use_lifo=True,
    )
    pool = engine.pool
    assert isinstance(pool, ElasticPool)
    pool.lifetime_s = settings.max_lifetime_s
    pool.on_timeout = monitor.report
    check_connections(pool)
    monitor.watch(engine.sync_engine)
    # Behind a pooler in transaction mode the session settings belong to all clients.
    if is_direct:
        switch_read_only(engine.sync_engine, on_failure=monitor.report)
    if isinstance(settings.target, SqliteUrl):
        control_sqlite(engine.sync_engine)
    else:
        enforce_deadlines(engine.sync_engine)
        heal_stale_plans(engine.sync_engine)
        note_failures(engine.sync_engine)
        forget_last_statements(engine.sync_engine)
    return engine, pool


@asynccontextmanager
async def unpooled_engine(
    settings: DatabaseSettings, *, name: str, target: DatabaseUrl | None = None
) -> AsyncGenerator[AsyncEngine]:
    """Create the engine for the start and for migrations; it has no statement timeout.

    `target` is the database, if it differs from the database of requests.
    """
    target = target or settings.target
    is_direct = not settings.pgbouncer or target != settings.target
    limits = {"lock_timeout": str(LOCK_TIMEOUT_S * 1000), "statement_timeout": "0"}
    name = f"{name} migrations"
    opener = _opener(settings, target, name, limits=limits, is_direct=is_direct, foreign_keys=False)
    engine = _engine(settings, opener, is_direct=is_direct, poolclass=NullPool)
    if isinstance(target, SqliteUrl):
        control_sqlite(engine.sync_engine)
    try:
        yield engine
    finally:
        await engine.dispose()


def _engine(
    settings: DatabaseSettings, open_connection: Open, *, is_direct: bool, **options: Any
) -> AsyncEngine:
    # Selects the dialect only; the opener has the address.
    is_file = isinstance(settings.target, SqliteUrl)
    url = make_url("sqlite+aiosqlite:///database" if is_file else "postgresql+asyncpg://")
    check(url)
    if is_direct:
        options["async_creator"] = open_connection
    else:
        # Unnamed statements leave nothing behind in the server session that the pooler assigned.
        options["creator"] = lambda: connect_unnamed(engine.dialect.dbapi, open_connection)
    engine: AsyncEngine = create_async_engine(url, hide_parameters=True, **options)
    return engine


def _opener(
    settings: DatabaseSettings,
    target: DatabaseUrl,
    name: str,
    *,
    limits: Mapping[str, str],
    is_direct: bool,
    foreign_keys: bool = True,
) -> Open:
    timeout_s = settings.acquire_timeout_s
    # A service imports only its own driver.
    if isinstance(target, SqliteUrl):
        from .._driver.sqlite import sqlite_opener

        return sqlite_opener(target.path, busy_timeout_s=timeout_s, foreign_keys=foreign_keys)
    from .._driver.postgres import postgres_opener

    return postgres_opener(
        target,
        application_name=name,
        connect_timeout_s=timeout_s,
        server_settings=limits if is_direct else {},
        is_prepared=is_direct,
    )


async def wait_until_answering(engine: AsyncEngine, settings: DatabaseSettings) -> None:
    """Retry until the database answers.

    Raises:
        DatabaseUnreachableError: No answer within `DB_STARTUP_TIMEOUT_SECONDS`, or the file cannot be opened.
        NotADatabaseError: The file is not a database.
    """
    ends_at = time.monotonic() + settings.startup_timeout_s
    reason, silent = "", _silent(settings)
    for attempt in itertools.count():
        found = await _attempt(engine, settings, left_s=ends_at - time.monotonic())
        if found is None:
            return
        # The last attempt has less time than the server may need.
        if found != silent or not reason:
            reason = found
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            waited = f"waited {settings.startup_timeout_s:g} s, DB_STARTUP_TIMEOUT_SECONDS"
            raise DatabaseUnreachableError(f"DATABASE_URL: {reason} ({waited})")
        log.warning("database not connected", reason=reason, seconds_left=round(left_s, 1))
        await anyio.sleep(min(_BACKOFF.pause_s(attempt), left_s))


async def _attempt(engine: AsyncEngine, settings: DatabaseSettings, *, left_s: float) -> str | None:
    """Try once; return why it failed, or None."""
    try:
        with anyio.fail_after(max(0.1, left_s)):
            async with engine.execution_options(**{BEGIN: READING}).connect() as connection:
                # On SQLite the statement must read the file, otherwise its header is not checked.
                is_file = isinstance(settings.target, SqliteUrl)
                await connection.execute(text("SELECT 1 FROM sqlite_master" if is_file else "SELECT 1"))
    except DatabaseUnavailable as error:
        if error.is_lasting and isinstance(settings.target, SqliteUrl):
            refusal = NotADatabaseError if isinstance(error, NotADatabase) else DatabaseUnreachableError
            raise refusal(f"DATABASE_URL: {error.reason}") from error
        return error.reason
    except TimeoutError:
        return _silent(settings)
    except (SQLAlchemyError, OSError) as error:
        return f"{settings.target}: {reason_of(error)}"
    return None


def _silent(settings: DatabaseSettings) -> str:
    return f"{settings.target} does not answer"
