"""Engines: a pooled one for requests, an unpooled one for the start and for migrations."""

import time
from typing import Any, NamedTuple

import anyio
import structlog
from sqlalchemy import URL, Engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from .._base.dsn import DatabaseUrl, SqliteUrl
from .._base.errors import DatabaseAwayError, DatabaseUnavailable, NotADatabase, NotADatabaseError, reason_of
from .._base.settings import DatabaseSettings
from .._compat import check, connect_unnamed
from .._driver.error_mapping import Open, OutageMonitor
from .._driver.pool import ElasticPool, check_connections
from .._driver.spans import record_spans
from .._driver.statement_timeout import enforce_deadlines
from .._driver.transactions import BEGIN, READING, begin_explicitly, switch_read_only
from .._session.session import note_failures

log = structlog.get_logger(__name__)

LOCK_TIMEOUT_S = 5
"""Seconds a migration waits for the lock of a table; meanwhile all other statements on the table queue up."""
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0


class Share(NamedTuple):
    """Pool size of one worker."""

    minimum: int
    maximum: int

    @classmethod
    def of(cls, settings: DatabaseSettings, *, index: int, workers: int) -> "Share":
        """Return a worker's share of the connections: 20 for 3 workers are 7, 7 and 6.

        Args:
            settings: Pool size of the instance.
            index: Index of the worker, from 0.
            workers: Number of workers.
        """

        def part(of: int) -> int:
            return of // workers + (index < of % workers)

        return cls(part(settings.min_connections), max(1, part(settings.max_connections)))


def pooled_engine(settings: DatabaseSettings, share: Share, *, name: str) -> AsyncEngine:
    """Create the engine for requests; it opens no connection yet.

    Args:
        settings: URL and limits.
        share: Pool size.
        name: Name of the service, sent as `application_name`.
    """
    outages = OutageMonitor()
    engine = _engine(
        settings,
        outages.wrap(_opener(settings, name)),
        is_prepared=not settings.pgbouncer,
        poolclass=ElasticPool,
        pool_size=share.maximum,
        max_overflow=0,
        pool_timeout=settings.acquire_timeout_s,
        pool_use_lifo=True,
    )
    pool = pool_of(engine)
    pool.lifetime_s = settings.max_lifetime_s
    pool.on_timeout = outages.report
    check_connections(pool)
    outages.watch(engine.sync_engine)
    # Behind a pooler in transaction mode the session settings belong to all clients.
    if not settings.pgbouncer:
        switch_read_only(engine.sync_engine, on_failure=outages.report)
    if isinstance(settings.target, SqliteUrl):
        _add_sqlite_listeners(engine.sync_engine)
    else:
        enforce_deadlines(engine.sync_engine)
        note_failures(engine.sync_engine)
    record_spans(engine.sync_engine, settings.target)
    return engine


def pool_of(engine: AsyncEngine) -> ElasticPool:
    """Return the pool of an engine made by `pooled_engine`."""
    pool = engine.pool
    assert isinstance(pool, ElasticPool)
    return pool


def unpooled_engine(
    settings: DatabaseSettings, *, name: str, target: DatabaseUrl | None = None
) -> AsyncEngine:
    """Create the engine for the start and for migrations; it has no statement timeout.

    Args:
        settings: URL and limits.
        name: Name of the service, sent as part of `application_name`.
        target: The database, if it differs from the database of requests.
    """
    target = target or settings.target
    is_direct = not settings.pgbouncer or target != settings.target
    opener = _unlimited_opener(settings, name, target, is_direct=is_direct)
    engine = _engine(settings, opener, is_prepared=is_direct, poolclass=NullPool)
    if isinstance(target, SqliteUrl):
        _add_sqlite_listeners(engine.sync_engine)
    return engine


def _engine(
    settings: DatabaseSettings, open_connection: Open, *, is_prepared: bool, **options: Any
) -> AsyncEngine:
    if is_prepared:
        options["async_creator"] = open_connection
    else:

        def connect() -> Any:
            # Unnamed statements leave nothing behind in the server session that the pooler assigned.
            return connect_unnamed(engine.sync_engine.dialect.dbapi, open_connection)

        options["creator"] = connect
    url = _dialect(settings)
    check(url)
    engine = create_async_engine(url, hide_parameters=True, **options)
    return engine


def _dialect(settings: DatabaseSettings) -> URL:
    # Selects the dialect only; the opener has the address.
    is_file = isinstance(settings.target, SqliteUrl)
    return make_url("sqlite+aiosqlite:///database" if is_file else "postgresql+asyncpg://")


# The drivers are imported here, so that a service loads only its own.
def _opener(settings: DatabaseSettings, name: str) -> Open:
    target = settings.target
    if isinstance(target, SqliteUrl):
        from .._driver.sqlite import sqlite_opener

        return sqlite_opener(target.path, busy_timeout_s=settings.acquire_timeout_s)
    from .._driver.postgres import postgres_opener, session_settings

    return postgres_opener(
        target,
        application_name=name,
        connect_timeout_s=settings.acquire_timeout_s,
        server_settings={} if settings.pgbouncer else session_settings(settings.statement_timeout_s),
        is_prepared=not settings.pgbouncer,
    )


def _unlimited_opener(settings: DatabaseSettings, name: str, target: DatabaseUrl, *, is_direct: bool) -> Open:
    if isinstance(target, SqliteUrl):
        from .._driver.sqlite import sqlite_opener

        return sqlite_opener(target.path, busy_timeout_s=settings.acquire_timeout_s, foreign_keys=False)
    from .._driver.postgres import postgres_opener

    limits = {"lock_timeout": str(LOCK_TIMEOUT_S * 1000), "statement_timeout": "0"}
    return postgres_opener(
        target,
        application_name=f"{name} migrations",
        connect_timeout_s=settings.acquire_timeout_s,
        server_settings=limits if is_direct else {},
        is_prepared=is_direct,
    )


def _add_sqlite_listeners(engine: Engine) -> None:
    from .._driver.sqlite import interrupt_when_cancelled, roll_back_failed_commits

    begin_explicitly(engine)
    interrupt_when_cancelled(engine)
    roll_back_failed_commits(engine)


async def wait_until_answering(engine: AsyncEngine, settings: DatabaseSettings) -> None:
    """Retry until the database answers.

    Args:
        engine: An unpooled engine.
        settings: URL and startup timeout.

    Raises:
        DatabaseAwayError: No answer within `DB_STARTUP_TIMEOUT_SECONDS`, or the file cannot be opened.
        NotADatabaseError: The file is not a database.
    """
    ends_at = time.monotonic() + settings.startup_timeout_s
    pause_s = _FIRST_PAUSE_S
    while True:
        reason = await _attempt(engine, settings, left_s=ends_at - time.monotonic())
        if reason is None:
            return
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            waited = f"waited {settings.startup_timeout_s:g} s, DB_STARTUP_TIMEOUT_SECONDS"
            raise DatabaseAwayError(f"DATABASE_URL: {reason} ({waited})")
        log.warning("database not connected", reason=reason, seconds_left=round(left_s, 1))
        await anyio.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


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
            refusal = NotADatabaseError if isinstance(error, NotADatabase) else DatabaseAwayError
            raise refusal(f"DATABASE_URL: {error.reason}") from error
        return error.reason
    except TimeoutError:
        return f"{settings.target} does not answer"
    except (SQLAlchemyError, OSError) as error:
        return f"{settings.target}: {reason_of(error)}"
    return None
