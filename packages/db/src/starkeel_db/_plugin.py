"""The database of an application, as a plugin."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, final

import structlog
from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.plugins import InitPlugin, ReceiveRoutePlugin
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import Scope
from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from starkeel_asgi import pipeline_of

from ._base.dsn import DatabaseUrl, PostgresUrl
from ._base.errors import MigrationError, SchemaBehindError
from ._base.settings import DatabaseSettings
from ._driver.sqlite import BEGIN, READING
from ._engine.database import Database, WritesCheck
from ._engine.engine import Share, unpooled_engine, wait_until_answering
from ._migrations.runner import Migrations, tell_pending
from ._migrations.scripts import Scripts
from ._session.conflict_retry import ConflictRetry, attempts_of, note_conflict
from ._session.session import Sessions
from ._session.unit_of_work import UnitOfWorkProvider, close
from ._sqlite_backup import CopyError, back_up, restore

log = structlog.get_logger(__name__)


@final
class DatabasePlugin(InitPlugin, ReceiveRoutePlugin):
    """Opens a pool, migrates, and gives every request a unit of work as the dependency `session`.

    The dependency `database` is this plugin. Its place in the list of plugins does not matter.

    Args:
        settings: Where the database is, and limits.
        metadata: The models.
        migrations: Name of the package that holds the migrations; its first part names the service.
    """

    readiness_name = "database"

    def __init__(self, settings: DatabaseSettings, *, metadata: MetaData, migrations: str) -> None:
        self.settings = settings
        self._metadata = metadata
        self._package = migrations
        self._name = migrations.partition(".")[0]
        self._share = Share.of(settings, index=0, workers=1)
        self._database: Database | None = None
        self._is_schema_known_good = False
        self._units_of_work = UnitOfWorkProvider(self._sessions)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the dependencies, the unit of work and the life of the pool."""
        app_config.dependencies.setdefault("session", Provide(self.request_session, sync_to_thread=False))
        app_config.dependencies.setdefault("database", Provide(lambda: self, sync_to_thread=False))
        app_config.signature_types.append(DatabasePlugin)
        app_config.on_startup.append(_add_pipeline)
        app_config.after_exception.append(note_conflict)
        if isinstance(self.settings.target, PostgresUrl):
            app_config.plugins.append(WritesCheck(self._opened))
        app_config.lifespan.append(self._lifespan)
        return app_config

    def start_process(self, *, role: Literal["main", "worker"], index: int, workers: int) -> None:
        """Take this process's share of the connections."""
        if role == "worker":
            self._share = Share.of(self.settings, index=index, workers=workers)

    def receive_route(self, route: BaseRoute) -> None:
        """Add retries to the handlers that have `repeat_conflicts`."""
        for handler in route.route_handlers if isinstance(route, HTTPRoute) else ():
            if (attempts := attempts_of(handler.opt)) > 1:
                _add_retries(handler, attempts)

    def request_session(self, scope: Scope) -> AsyncSession:
        """Return the session of a request's unit of work; the dependency `session`.

        Args:
            scope: The request's.

        Raises:
            ImproperlyConfiguredException: It is no request, but a WebSocket.
        """
        return self._units_of_work.provide(scope)

    @asynccontextmanager
    async def session(self, *, reads_only: bool = False) -> AsyncGenerator[AsyncSession]:
        """Open a unit of work outside of requests: committed in the end, rolled back after an error.

        For streams, WebSockets and background tasks, while the application runs.

        Args:
            reads_only: Whether nothing will be written; on SQLite others may write meanwhile.

        Raises:
            DatabaseUnavailable: The database cannot be used.
        """
        session = self._sessions().make(reads_only=reads_only)
        try:
            yield session
            await session.commit()
        finally:
            await close(session)

    async def connect(self) -> None:
        """Wait until the database answers.

        Raises:
            DatabaseError: It does not, or cannot.
        """
        async with self._unpooled() as engine:
            await wait_until_answering(engine, self.settings)

    async def migrate(self, *, at_start: bool = False) -> int | None:
        """Apply what migrations are missing; how many that were.

        Args:
            at_start: Whether it is a service's start that asks, which `RUN_MIGRATIONS` may leave to
                somebody else: then nothing is applied and there is no count.

        Raises:
            NewerDatabaseError: The database knows revisions that the code does not; also when it is off.
            MigrationError: A migration failed and was rolled back.
        """
        async with self._unpooled(self.settings.migrations_target) as engine:
            migrations = Migrations(engine, Scripts(self._package), self._metadata)
            if self.settings.run_migrations or not at_start:
                if self.settings.pgbouncer and self.settings.migrations_url is None:
                    raise MigrationError(
                        "migrations hold a lock of their session, which PgBouncer (DB_PGBOUNCER) does not"
                        " keep: set MIGRATIONS_DATABASE_URL to a URL straight to the server"
                    )
                applied = await migrations.apply()
                # In the worker that prepared the start there is no need to look again.
                self._is_schema_known_good = True
                return applied
            missing = await migrations.missing()
            if missing:
                log.warning("migrations missing, and RUN_MIGRATIONS is off", revisions=missing)
            return None

    async def migration_sql(self) -> str:
        """Return the SQL that `migrate` would run, and run nothing.

        Raises:
            NewerDatabaseError: The database knows revisions that the code does not.
        """
        from ._migrations.lint import upgrade_sql

        scripts = Scripts(self._package)
        async with self._unpooled(self.settings.migrations_target) as engine:
            missing = await Migrations(engine, scripts, self._metadata).missing()
            done = len(scripts.names()) - len(missing)
            after = scripts.names()[done - 1] if done else None
            return upgrade_sql(scripts, dialect=engine.dialect.name, after=after) if missing else ""

    def blocking_operations(self) -> list[str]:
        """Name what in the migrations keeps others from a table for long; for a service's tests.

        A revision that does so on purpose has a module variable `blocking` that says why.
        """
        from ._migrations.lint import blocking_operations

        return blocking_operations(Scripts(self._package), self._metadata)

    def revision(self, message: str) -> list[Path]:
        """Write a migration of what changed in the models.

        Args:
            message: What that is, in a few words.

        Raises:
            SchemaBehindError: The database lacks a migration that is there already.
        """
        from ._migrations.autogenerate import write_revision

        async def write() -> list[Path]:
            async with self._unpooled() as engine:
                await wait_until_answering(engine, self.settings)
                return await write_revision(engine, Scripts(self._package), self._metadata, message)

        return asyncio.run(write())

    def backup(self, file: Path) -> None:
        """Copy the database to a file, while it is in use; for SQLite.

        Raises:
            DatabaseError: It cannot be done, or it is PostgreSQL.
        """
        back_up(self._sqlite_file("pg_dump --format=custom"), file)
        log.info("database backed up", file=str(file), bytes=file.stat().st_size)

    def restore(self, file: Path) -> None:
        """Put a copy in the place of the database, while no process has it open; for SQLite.

        Raises:
            DatabaseError: It cannot be done, or it is PostgreSQL.
        """
        kept = restore(self._sqlite_file("pg_restore"), file, Scripts(self._package))
        before = {} if kept is None else {"before": str(kept)}
        log.info("database restored", file=str(file), **before)

    def _sqlite_file(self, instead: str) -> Path:
        target = self.settings.target
        if isinstance(target, PostgresUrl):
            raise CopyError(f"DATABASE_URL is PostgreSQL, which has its own: `{instead}`")
        return target.path

    async def check_ready(self) -> None:
        """Raise when the database does not answer, or lacks a migration.

        Raises:
            DatabaseUnavailable: It does not answer.
            SchemaBehindError: It lacks one.
        """
        database = self._opened()
        await database.check()
        if self._is_schema_known_good:
            return
        scripts = Scripts(self._package)
        async with database.looking() as connection:
            found = await scripts.applied(connection)
        # Main has refused a database that was newer when it started; one that became so since was migrated by
        # a deployment under way, and this process goes on until it is replaced.
        missing = scripts.missing(found, tolerate_newer=True)
        tell_pending(len(missing))
        if missing:
            raise SchemaBehindError(missing)
        self._is_schema_known_good = True

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """What is on, and why."""
        yield "database", True, str(self.settings.target)
        is_on = self.settings.run_migrations
        if self.settings.pgbouncer:
            yield "pgbouncer", True, "DB_PGBOUNCER is true: limits are set in each transaction"
        yield "migrations at start", is_on, f"RUN_MIGRATIONS is {'true' if is_on else 'false'}"

    def inquiries(self) -> Mapping[str, Callable[[Mapping[str, str]], Any]]:
        """What an operator can ask of this process."""
        return {"migrations": self._migrations}

    async def _migrations(self, _: Mapping[str, str]) -> dict[str, Any]:
        """Where the database is, and what it lacks."""
        scripts = Scripts(self._package)
        # By a connection of its own: one asks when the pool is exhausted, or not opened yet.
        async with (
            self._unpooled() as engine,
            engine.execution_options(**{BEGIN: READING}).connect() as connection,
        ):
            applied = await scripts.applied(connection)
        names = scripts.names()
        unknown = sorted(applied.difference(names))
        return {
            "current": unknown[0] if unknown else next(iter(sorted(applied)), None),
            "newest": names[-1] if names else None,
            "pending": scripts.missing(applied, tolerate_newer=True),
            "is_newer_than_code": bool(unknown),
        }

    def _opened(self) -> Database:
        if self._database is None:
            raise RuntimeError("the database is opened by the application's lifespan, which is not running")
        return self._database

    def _sessions(self) -> Sessions:
        return self._opened().sessions

    @asynccontextmanager
    async def _unpooled(self, target: DatabaseUrl | None = None) -> AsyncGenerator[AsyncEngine]:
        engine = unpooled_engine(self.settings, name=self._name, target=target)
        try:
            yield engine
        finally:
            await engine.dispose()

    @asynccontextmanager
    async def _lifespan(self, _: Litestar) -> AsyncGenerator[None]:
        database = Database(self.settings, self._share, name=self._name)
        self._database = database
        try:
            async with database.running():
                yield
        finally:
            self._database = None


def _add_pipeline(app: Litestar) -> None:
    pipeline_of(app)


def _add_retries(handler: HTTPRouteHandler, attempts: int) -> None:
    present = handler.middleware or ()
    if not any(isinstance(middleware, ConflictRetry) for middleware in present):
        handler.middleware = [*present, ConflictRetry(attempts)]
