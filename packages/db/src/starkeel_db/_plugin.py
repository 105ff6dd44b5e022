"""Litestar plugin for the database of an application."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, Self, final

import structlog
from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.exceptions import ImproperlyConfiguredException
from litestar.plugins import InitPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from starkeel_asgi import pipeline_of
from starkeel_config import ServiceContext

from ._base.dsn import DatabaseUrl, PostgresUrl
from ._base.errors import MigrationError, SchemaBehindError
from ._base.settings import DatabaseSettings
from ._driver.transactions import BEGIN, READING
from ._engine.database import Database, WritableCheck
from ._engine.engine import Share, unpooled_engine, wait_until_answering
from ._migrations.autogenerate import write_revision
from ._migrations.lint import blocking_operations, pending_sql
from ._migrations.runner import Migrations, set_newer, set_pending
from ._migrations.scripts import Scripts
from ._session.conflict_retry import add_retries, note_conflict
from ._session.lazy import LazySession, unit_of_work
from ._session.unit_of_work import UnitOfWorkProvider

log = structlog.get_logger(__name__)

_CHECK_SCHEMA_EVERY_S: Final = 60.0


@final
class DatabasePlugin(InitPlugin, ReceiveRoutePlugin):
    """Connection pool, migrations, and a unit of work per request.

    Dependencies: `session` is the session of the request's unit of work, `database` is this plugin. Its
    position in the list of plugins does not matter.

    Args:
        settings: URL and limits.
        metadata: Metadata of the models.
        migrations: Name of the migrations package; its first part is the name of the service.
    """

    readiness_name = "database"

    def __init__(self, settings: DatabaseSettings, *, metadata: MetaData, migrations: str) -> None:
        self.settings = settings
        self.metadata = metadata
        self._package = migrations
        self._name = migrations.partition(".")[0]
        self._share = Share.of(settings, index=0, workers=1)
        self._database: Database | None = None
        self._is_schema_current = False
        self._check_schema_at = float("-inf")
        self._units_of_work = UnitOfWorkProvider()
        self.request_session = self._units_of_work.request_session
        """Returns the session of a request's unit of work; the dependency `session`."""

    @classmethod
    def for_service(cls, groups: Mapping[str, DatabaseSettings], service: ServiceContext) -> Self:
        """Create the plugin from a service's settings.

        The models are those of advanced-alchemy's registry, the migrations are in the service's package
        `migrations`.
        """
        from advanced_alchemy.base import orm_registry

        migrations = f"{service.package}.migrations"
        return cls(service.only(groups), metadata=orm_registry.metadata, migrations=migrations)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the dependencies, the unit of work and the lifespan of the pool."""
        app_config.dependencies.setdefault("session", Provide(self.request_session, sync_to_thread=False))
        app_config.dependencies.setdefault("database", Provide(lambda: self, sync_to_thread=False))
        app_config.signature_types.append(DatabasePlugin)
        app_config.on_startup.append(pipeline_of)
        app_config.after_exception.append(note_conflict)
        if isinstance(self.settings.target, PostgresUrl):
            app_config.plugins.append(WritableCheck(self._opened))
        app_config.lifespan.append(self._lifespan)
        return app_config

    def start_process(self, *, role: Literal["main", "worker"], index: int, workers: int) -> None:
        """Set the pool size of this process."""
        if role == "worker":
            self._share = Share.of(self.settings, index=index, workers=workers)

    def receive_route(self, route: BaseRoute) -> None:
        """Add retries to the handlers that have `repeat_conflicts`."""
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            add_retries(handler)

    @asynccontextmanager
    async def session(self, *, reads_only: bool = False) -> AsyncGenerator[AsyncSession]:
        """Open a unit of work outside of requests: for streams, WebSockets and background tasks.

        It is committed at the end of the block, and rolled back after an exception.

        Args:
            reads_only: Whether the block only reads; the database refuses writes, see `read_only`.

        Raises:
            DatabaseUnavailable: The database cannot be used.
            ReadOnlySessionError: A session with `reads_only` executed a statement that writes.
        """
        async with unit_of_work(self._opened().sessions, reads_only=reads_only) as lazy:
            yield lazy.get()

    def lazy_session(self) -> AbstractAsyncContextManager[LazySession]:
        """Open a unit of work as `session` does, whose session is created when it is first used."""
        return unit_of_work(self._opened().sessions)

    async def connect(self) -> None:
        """Wait until the database answers.

        Raises:
            DatabaseError: It did not answer in time, or cannot be used.
        """
        async with self._unpooled() as engine:
            await wait_until_answering(engine, self.settings)

    async def migrate(self, *, at_start: bool = False) -> int | None:
        """Apply missing migrations and return their number.

        Args:
            at_start: Whether this is the start of the service, at which `RUN_MIGRATIONS=false` applies
                nothing and returns None.

        Raises:
            NewerDatabaseError: The database has revisions that the code does not have and does not work with;
                checked in any case.
            MigrationError: A migration failed and was rolled back.
        """
        settings = self.settings
        async with self._unpooled(settings.migrations_target) as engine:
            migrations = Migrations(engine, Scripts(self._package), self.metadata)
            if at_start and not settings.run_migrations:
                missing = await migrations.missing()
                if missing:
                    log.warning("migrations missing, and RUN_MIGRATIONS is off", revisions=missing)
                return None
            if settings.pgbouncer and settings.migrations_url is None:
                raise MigrationError(
                    "migrations need a session-level lock, which PgBouncer (DB_PGBOUNCER) does not"
                    " support: set MIGRATIONS_DATABASE_URL to a URL of the server itself"
                )
            applied = await migrations.apply()
            # Saves the worker that ran the migrations the check.
            self._is_schema_current = True
            self._check_schema_at = time.monotonic() + _CHECK_SCHEMA_EVERY_S
            return applied

    async def migration_sql(self) -> str:
        """Return the SQL that `migrate` would run.

        Raises:
            NewerDatabaseError: The database has revisions that the code does not have and does not work with.
        """
        scripts = Scripts(self._package)
        async with self._unpooled(self.settings.migrations_target) as engine:
            missing = await Migrations(engine, scripts, self.metadata).missing()
            return pending_sql(scripts, missing, dialect=engine.dialect.name)

    def blocking_operations(self) -> list[str]:
        """Return operations of the migrations that block other transactions for long; for a service's tests.

        A revision that blocks on purpose has a module variable `blocking` with the reason.
        """
        return blocking_operations(Scripts(self._package), self.metadata)

    def revision(self, message: str, *, empty: bool = False) -> list[Path]:
        """Write a migration from the difference between models and database; nothing if there is none.

        Args:
            message: Description, which becomes a part of the name.
            empty: Write a migration without operations instead, to be filled by hand.

        Raises:
            SchemaBehindError: The database lacks an existing migration.
        """

        async def write() -> list[Path]:
            async with self._unpooled() as engine:
                await wait_until_answering(engine, self.settings)
                return await write_revision(
                    engine, Scripts(self._package), self.metadata, message, is_empty=empty
                )

        return asyncio.run(write())

    def backup(self, file: Path) -> None:
        """Back up an SQLite database, which may be in use.

        Raises:
            DatabaseError: The backup failed, or the database is PostgreSQL.
        """
        from ._sqlite_backup import back_up, sqlite_file

        database = sqlite_file(self.settings.target, instead="pg_dump --format=custom")
        back_up(database, file)
        log.info("database backed up", database=str(database), backup=str(file), bytes=file.stat().st_size)

    def restore(self, file: Path) -> None:
        """Restore a backup of an SQLite database, which no process may have open.

        Raises:
            DatabaseError: The restore failed, or the database is PostgreSQL.
        """
        from ._sqlite_backup import restore, sqlite_file

        database = sqlite_file(self.settings.target, instead="pg_restore")
        kept = restore(database, file, Scripts(self._package))
        previous = {} if kept is None else {"previous_data": str(kept)}
        log.info("database restored", database=str(database), backup=str(file), **previous)

    async def check_ready(self) -> None:
        """Raise when the database does not answer or lacks a migration."""
        database = self._opened()
        await database.check()
        if time.monotonic() < self._check_schema_at:
            return
        scripts = Scripts(self._package)
        async with database.check_connection() as connection:
            found = await scripts.applied(connection)
        # Whether code works with a newer schema is checked at start. If the schema becomes newer later, a
        # deployment is in progress, and this process serves until it is replaced.
        missing = scripts.missing(found, tolerate_newer=True)
        set_pending(len(missing))
        set_newer(bool(found.difference(scripts.names())))
        # Once it was current, a database that lacks revisions was restored: the metric reports it.
        if missing and not self._is_schema_current:
            raise SchemaBehindError(missing, service=scripts.service)
        self._is_schema_current = True
        self._check_schema_at = time.monotonic() + _CHECK_SCHEMA_EVERY_S

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """Yield the features for the start log: name, whether it is on, and the reason."""
        yield "database", True, str(self.settings.target)
        if self.settings.pgbouncer:
            yield "pgbouncer", True, "DB_PGBOUNCER is true: limits are set in each transaction"
        is_on = self.settings.run_migrations
        yield "migrations at start", is_on, f"RUN_MIGRATIONS is {'true' if is_on else 'false'}"

    def inquiries(self) -> Mapping[str, Callable[[Mapping[str, str]], Any]]:
        """Return the admin commands of this process."""
        return {"migrations": self._migrations}

    async def _migrations(self, _: Mapping[str, str]) -> dict[str, Any]:
        # A separate connection: the pool may be exhausted, or not open yet.
        async with (
            self._unpooled() as engine,
            engine.execution_options(**{BEGIN: READING}).connect() as connection,
        ):
            return await Scripts(self._package).status(connection)

    def _opened(self) -> Database:
        if self._database is None:
            raise RuntimeError("the database is not open: the application's lifespan is not running")
        return self._database

    def _unpooled(self, target: DatabaseUrl | None = None) -> AbstractAsyncContextManager[AsyncEngine]:
        return unpooled_engine(self.settings, name=self._name, target=target)

    @asynccontextmanager
    async def _lifespan(self, _: Litestar) -> AsyncGenerator[None]:
        database = Database(self.settings, self._share, name=self._name)
        self._database, self._units_of_work.sessions = database, database.sessions
        try:
            async with database.running():
                yield
        finally:
            self._database = None


def database_of(app_config: AppConfig) -> DatabasePlugin:
    """Return the database of an application that is being configured.

    Raises:
        ImproperlyConfiguredException: It has none, or several.
    """
    found = [plugin for plugin in app_config.plugins if isinstance(plugin, DatabasePlugin)]
    if len(found) != 1:
        raise ImproperlyConfiguredException(
            f"the application has {len(found)} plugins of kind DatabasePlugin; pass the `database` to use"
        )
    return found[0]
