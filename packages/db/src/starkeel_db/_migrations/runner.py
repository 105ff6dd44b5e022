"""Applies migrations, in one process at a time."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import structlog
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from .._base.errors import MigrationError, reason_of, sqlstate
from .._base.metrics import gauge
from .._driver.statements import outage
from .._driver.transactions import BEGIN, READING
from .scripts import Scripts

log = structlog.get_logger(__name__)

_LOCK_KEY = int.from_bytes(b"starkeel")
"""Number of PostgreSQL's advisory lock, which is local to a database."""
_POLL_S = 0.25
_LOCK_NOT_AVAILABLE = "55P03"

_INVALID_INDEXES = text(
    "SELECT i.indexrelid::regclass::text, i.indrelid::regclass::text FROM pg_index AS i"
    " JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE NOT i.indisvalid AND n.nspname = ANY (current_schemas(false)) ORDER BY 1"
)


class Migrations:
    """Applies the migrations of a service with an unpooled engine, which has no statement timeout."""

    def __init__(self, engine: AsyncEngine, scripts: Scripts, metadata: MetaData) -> None:
        self._engine = engine
        self._scripts = scripts
        self._metadata = metadata
        self._has_waited = False

    async def missing(self) -> list[str]:
        """Return the revisions that the database lacks, oldest first.

        Raises:
            NewerDatabaseError: It has a revision that the code does not have and does not work with.
        """
        async with self._engine.execution_options(**{BEGIN: READING}).connect() as connection:
            applied = await self._scripts.applied(connection)
            is_newer = await self._scripts.check_newer(connection, applied)
        missing = self._scripts.missing(applied, tolerate_newer=True)
        set_pending(len(missing))
        note_newer(self._scripts, applied, is_newer=is_newer)
        return missing

    async def apply(self) -> int:
        """Apply the missing migrations and return their number.

        Processes take turns; those with nothing to apply do not wait. They wait outside of statements and
        transactions, because `CREATE INDEX CONCURRENTLY` waits for all open transactions.

        Raises:
            MigrationError: A migration failed and was rolled back; on PostgreSQL earlier ones stay applied.
        """
        if not await self.missing():
            await self._warn_of_invalid_indexes()
            return 0
        if self._engine.dialect.name == "sqlite":
            async with self._writing() as connection:
                return await self._apply(connection)
        async with self._locked(), self._engine.connect() as connection:
            # Not before the lock: an index that another process is building is not valid yet.
            await self._warn_of_invalid_indexes()
            return await self._apply(connection)

    async def _warn_of_invalid_indexes(self) -> None:
        """Log indexes that an interrupted `CREATE INDEX CONCURRENTLY` left behind."""
        if self._engine.dialect.name == "sqlite":
            return
        async with self._engine.connect() as connection:
            for index, table in (await connection.execute(_INVALID_INDEXES)).all():
                log.warning(
                    "invalid index found", index=index, table=table, remedy=f"DROP INDEX CONCURRENTLY {index}"
                )

    async def _apply(self, connection: AsyncConnection) -> int:
        applied = await self._scripts.applied(connection)
        await self._scripts.check_newer(connection, applied)
        missing = self._scripts.missing(applied, tolerate_newer=True)
        if not missing:
            set_pending(0)
            return 0
        self._scripts.check_marks(missing)
        if self._engine.dialect.name != "sqlite":
            # Alembic begins and commits a transaction for each revision.
            await connection.rollback()
        done: list[str] = []

        def note(*, step: Any, **_: Any) -> None:
            done.append(step.up_revision_id)

        try:
            await connection.run_sync(self._upgrade, note)
        except Exception as error:
            # A failure after the last migration, such as SQLite's check, is attributed to it.
            raise _failed(missing[min(len(done), len(missing) - 1)], error) from error
        for name in done:
            log.info("migration applied", revision=name)
        set_pending(0)
        return len(done)

    def _upgrade(self, connection: Connection, note: Any) -> None:
        from alembic import command

        config = self._scripts.config(
            connection,
            target_metadata=self._metadata,
            transaction_per_migration=True,
            on_version_apply=[note],
        )
        command.upgrade(config, "head")
        is_sqlite = connection.dialect.name == "sqlite"
        if is_sqlite and (found := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
            raise MigrationError(f"a row of {found[0]} refers to a row of {found[2]} that does not exist")

    @asynccontextmanager
    async def _writing(self) -> AsyncGenerator[AsyncConnection]:
        """SQLite: one write transaction for all migrations, which also excludes other processes."""
        async with self._engine.connect() as connection:
            while True:
                try:
                    transaction = await connection.begin()
                    break
                except OperationalError as error:
                    if outage(error, is_disconnect=False) is None:
                        raise
                    await self._wait()
            yield connection
            # Without this commit, closing the connection rolls back.
            await transaction.commit()

    @asynccontextmanager
    async def _locked(self) -> AsyncGenerator[None]:
        """PostgreSQL: a session-level advisory lock, released even if the process is killed."""
        async with self._engine.connect() as plain:
            connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
            while not await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _LOCK_KEY}):
                await self._wait()
            yield

    async def _wait(self) -> None:
        if not self._has_waited:
            log.info("another process migrates: waiting for it")
        self._has_waited = True
        await anyio.sleep(_POLL_S)


def _failed(name: str, error: Exception) -> Exception:
    reason = reason_of(error)
    if sqlstate(error) == _LOCK_NOT_AVAILABLE:
        reason += " (another transaction uses the table; end it, or migrate later)"
    return MigrationError(f"migration {name} failed and was rolled back: {reason}")


def set_pending(count: int) -> None:
    """Set the number of migrations that the database lacks."""
    # All processes observe the same database: the latest value is right.
    gauge("db_migrations_pending", "Migrations that the database lacks.", "mostrecent").set(count)


def note_newer(scripts: Scripts, applied: frozenset[str], *, is_newer: bool) -> None:
    """Log a database that newer code has migrated, and set the metric."""
    set_newer(is_newer)
    if is_newer:
        names = scripts.names()
        log.warning(
            "database newer than the code",
            revision=", ".join(sorted(applied.difference(names))),
            newest=names[-1] if names else None,
        )


def set_newer(is_newer: bool) -> None:
    """Set the metric of a database that newer code has migrated."""
    gauge("db_schema_newer", "Whether newer code has migrated the database.", "mostrecent").set(is_newer)
