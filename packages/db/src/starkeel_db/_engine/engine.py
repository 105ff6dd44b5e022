"""Engines: one with a pool for requests, one without for the start."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import anyio
import structlog
from sqlalchemy import URL, Engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from .._base.dsn import DatabaseUrl, PostgresUrl, SqliteUrl
from .._base.errors import DatabaseAwayError, DatabaseUnavailable, NotADatabase, NotADatabaseError
from .._base.settings import DatabaseSettings
from .._driver.autocommit_reads import begin_when_needed
from .._driver.error_mapping import Outages
from .._driver.pool import ElasticPool, tend
from .._driver.postgres import Open, postgres_opener, session_settings
from .._driver.spans import record_spans
from .._driver.sqlite import (
    BEGIN,
    READING,
    begin_explicitly,
    interrupt_when_cancelled,
    roll_back_what_is_left,
    sqlite_opener,
)
from .._driver.statement_timeout import hold_to_deadlines
from .._session.session import note_failures

log = structlog.get_logger(__name__)

LOCK_TIMEOUT_S = 5
"""Seconds a migration waits for a table's lock: while it waits, everybody else who wants the table does."""
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0


class Share(NamedTuple):
    """What one worker may use of an instance's connections."""

    minimum: int
    maximum: int

    @classmethod
    def of(cls, settings: DatabaseSettings, *, index: int, workers: int) -> "Share":
        """Share out: 20 among 3 are 7, 7 and 6.

        Args:
            settings: What there is for all.
            index: The worker's number, from 0.
            workers: How many share.
        """

        def part(of: int) -> int:
            return of // workers + (index < of % workers)

        return cls(part(settings.min_connections), max(1, part(settings.max_connections)))


def pooled_engine(settings: DatabaseSettings, share: Share, *, name: str) -> AsyncEngine:
    """Make the engine of requests; opens nothing.

    Args:
        settings: Limits.
        share: How many connections.
        name: Of the service.
    """
    outages = Outages()
    engine = _engine(
        settings,
        outages.opening(_opener(settings, name)),
        is_prepared=not settings.pgbouncer,
        poolclass=ElasticPool,
        pool_size=share.maximum,
        max_overflow=0,
        pool_timeout=settings.acquire_timeout_s,
        pool_use_lifo=True,
    )
    pool = pool_of(engine)
    pool.lifetime_s = settings.max_lifetime_s
    pool.tell = outages.tell
    tend(pool)
    outages.watch(engine.sync_engine)
    _prepare(settings, engine.sync_engine)
    record_spans(engine.sync_engine, settings.target)
    return engine


def pool_of(engine: AsyncEngine) -> ElasticPool:
    """The pool of an engine that has one."""
    pool = engine.pool
    assert isinstance(pool, ElasticPool)
    return pool


def unpooled_engine(
    settings: DatabaseSettings, *, name: str, target: DatabaseUrl | None = None
) -> AsyncEngine:
    """Make the engine of the start, and of migrations, whose statements may take as long as they need.

    Args:
        settings: Limits.
        name: Of the service.
        target: Where, if not where requests go.
    """
    is_direct = not settings.pgbouncer or target not in {None, settings.target}
    opener = _unlimited_opener(settings, name, target or settings.target, is_direct=is_direct)
    engine = _engine(settings, opener, is_prepared=is_direct, poolclass=NullPool)
    if not isinstance(settings.target, PostgresUrl):
        begin_explicitly(engine.sync_engine)
        interrupt_when_cancelled(engine.sync_engine)
    return engine


def _engine(
    settings: DatabaseSettings, open_connection: Open, *, is_prepared: bool, **options: Any
) -> AsyncEngine:
    if is_prepared:
        options["async_creator"] = open_connection
    else:

        def connect() -> Any:
            # Without a name a statement is replaced by the next: whichever session the pooler lends, nothing
            # of the kind is left in it.
            dbapi: Any = engine.sync_engine.dialect.dbapi
            return dbapi.connect(
                async_creator_fn=open_connection,
                prepared_statement_cache_size=0,
                prepared_statement_name_func=lambda: "",
            )

        options["creator"] = connect
    engine = create_async_engine(_dialect(settings), hide_parameters=True, **options)
    return engine


def _dialect(settings: DatabaseSettings) -> URL:
    # The name of the database is for messages; how to connect is the opener's affair.
    is_postgres = isinstance(settings.target, PostgresUrl)
    return make_url("postgresql+asyncpg://" if is_postgres else "sqlite+aiosqlite:///database")


def _opener(settings: DatabaseSettings, name: str) -> Open:
    target = settings.target
    if isinstance(target, PostgresUrl):
        return postgres_opener(
            target,
            application_name=name,
            connect_timeout_s=settings.acquire_timeout_s,
            server_settings={} if settings.pgbouncer else session_settings(settings.statement_timeout_s),
            is_prepared=not settings.pgbouncer,
        )
    return sqlite_opener(target.path, busy_timeout_s=settings.acquire_timeout_s)


def _unlimited_opener(settings: DatabaseSettings, name: str, target: DatabaseUrl, *, is_direct: bool) -> Open:
    if isinstance(target, PostgresUrl):
        limits = {"lock_timeout": str(LOCK_TIMEOUT_S * 1000), "statement_timeout": "0"}
        return postgres_opener(
            target,
            application_name=f"{name} migrations",
            connect_timeout_s=settings.acquire_timeout_s,
            server_settings=limits if is_direct else {},
            is_prepared=is_direct,
        )
    return sqlite_opener(target.path, busy_timeout_s=settings.acquire_timeout_s, foreign_keys=False)


def _prepare(settings: DatabaseSettings, engine: Engine) -> None:
    each: tuple[Callable[[Engine], None], ...] = (
        begin_explicitly,
        interrupt_when_cancelled,
        roll_back_what_is_left,
    )
    if isinstance(settings.target, PostgresUrl):
        each = (begin_when_needed, hold_to_deadlines, note_failures)
    for prepare in each:
        prepare(engine)


async def wait_until_answering(engine: AsyncEngine, settings: DatabaseSettings) -> None:
    """Try until the database answers.

    Args:
        engine: Without a pool.
        settings: How long to wait.

    Raises:
        DatabaseAwayError: It did not within `DB_STARTUP_TIMEOUT_SECONDS`, or its file cannot be opened.
        NotADatabaseError: The file is something else: waiting does not help.
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
    """Ask once; why there was no answer."""
    try:
        with anyio.fail_after(max(0.1, left_s)):
            async with engine.execution_options(**{BEGIN: READING}).connect() as connection:
                # Reads the file's header, where there is one.
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
        return f"{settings.target}: {str(getattr(error, 'orig', None) or error).splitlines()[0]}"
    return None
