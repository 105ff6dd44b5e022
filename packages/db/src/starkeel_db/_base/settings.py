"""Database settings, read from the environment."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Meta
from starkeel_config import Environment, Problem, Secret, Settings, Variable

from .dsn import ACCEPTED, DatabaseUrl, PostgresUrl, parse_url


def _check_url(url: Secret) -> None:
    target = parse_url(url.reveal())
    root_cert = target.ssl_root_cert if isinstance(target, PostgresUrl) else None
    if root_cert and root_cert != "system" and not Path(root_cert).is_file():
        raise ValueError("has an sslrootcert that is neither the path of a PEM file nor `system`")


def _scheme(url: Secret) -> str:
    """Return the scheme of a URL, with `postgresql` normalized; parse errors are reported elsewhere."""
    return url.reveal().partition(":")[0].replace("postgresql", "postgres")


class DatabaseSettings(Settings, frozen=True, kw_only=True):
    """Database, connection pool and migrations."""

    plugin: ClassVar[str | None] = "starkeel_db:DatabasePlugin"

    url: Annotated[
        Secret,
        Variable("DATABASE_URL", development="sqlite:///.data/{service}.db", check=_check_url),
        Meta(description=f"{ACCEPTED} (secret)"),
    ]
    """URL of the database. PostgreSQL accepts `sslmode` (`disable` to `verify-full`) and `sslrootcert`; an
    SQLite path is relative, or absolute with a fourth slash."""

    migrations_url: Annotated[
        Secret | None,
        Variable("MIGRATIONS_DATABASE_URL", check=_check_url),
        Meta(description=f"{ACCEPTED} (secret)"),
    ] = None
    """URL of the same database for migrations: with a user that may change tables, or bypassing a pooler in
    transaction mode, which does not support session-level locks."""

    pgbouncer: Annotated[bool, Variable("DB_PGBOUNCER")] = False
    """Whether DATABASE_URL is a PgBouncer in transaction mode: no prepared statements or session settings are
    used, limits are set in each transaction, and migrations use MIGRATIONS_DATABASE_URL."""

    max_connections: Annotated[int, Variable("DB_MAX_CONNECTIONS"), Meta(ge=1, le=10_000)] = 20
    """Maximum number of connections of one instance, divided among its workers."""

    min_connections: Annotated[int, Variable("DB_MIN_CONNECTIONS"), Meta(ge=0, le=10_000)] = 5
    """Idle connections of one instance that are kept open, divided among its workers."""

    acquire_timeout_s: Annotated[float, Variable("DB_ACQUIRE_TIMEOUT_SECONDS"), Meta(ge=0.05, le=300)] = 5.0
    """Seconds to wait for a free connection, a new one, or SQLite's lock; then the response is 503."""

    idle_timeout_s: Annotated[float, Variable("DB_IDLE_TIMEOUT_SECONDS"), Meta(ge=1, le=86_400)] = 600.0
    """Seconds after which an idle connection above the minimum is closed."""

    max_lifetime_s: Annotated[float, Variable("DB_MAX_LIFETIME_SECONDS"), Meta(ge=1, le=604_800)] = 1800.0
    """Seconds after which a connection is replaced; up to 10 % less, so that they do not expire together."""

    statement_timeout_s: Annotated[
        float, Variable("DB_STATEMENT_TIMEOUT_SECONDS"), Meta(ge=0.01, le=3600)
    ] = 10.0
    """Seconds one statement of a request may take on PostgreSQL; less if the request has less time left."""

    startup_timeout_s: Annotated[float, Variable("DB_STARTUP_TIMEOUT_SECONDS"), Meta(ge=0, le=3600)] = 30.0
    """Seconds to wait at start for the database to answer; then the process exits with 69."""

    run_migrations: Annotated[bool, Variable("RUN_MIGRATIONS")] = True
    """Whether to apply missing migrations at start; `false` where the command `migrate` applies them."""

    workers: Annotated[int, Variable("WORKERS"), Meta(ge=1, le=64)] = 1
    """Worker processes; replicas are the usual way to scale."""

    @property
    def target(self) -> DatabaseUrl:
        """Parsed `DATABASE_URL`."""
        return parse_url(self.url.reveal())

    @property
    def migrations_target(self) -> DatabaseUrl:
        """Parsed URL for migrations; `DATABASE_URL` if there is no other."""
        return self.target if self.migrations_url is None else parse_url(self.migrations_url.reveal())

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Yield combinations of values that cannot work."""
        del environment
        if self.migrations_url is not None and _scheme(self.migrations_url) != _scheme(self.url):
            yield Problem(
                "MIGRATIONS_DATABASE_URL", "is of another kind of database than DATABASE_URL", "the same kind"
            )
        if self.pgbouncer and not isinstance(self.target, PostgresUrl):
            yield Problem("DB_PGBOUNCER", "is true, but DATABASE_URL is not PostgreSQL", "false")
        elif self.pgbouncer and self.run_migrations and self.migrations_url is None:
            yield Problem(
                "MIGRATIONS_DATABASE_URL",
                "is not set, and PgBouncer (DB_PGBOUNCER) does not support session-level locks",
                "a URL of the server itself, or RUN_MIGRATIONS=false where a job migrates",
            )
        if self.min_connections > self.max_connections:
            yield Problem(
                "DB_MIN_CONNECTIONS",
                f"is {self.min_connections}, more than DB_MAX_CONNECTIONS",
                f"at most {self.max_connections}",
            )
        if self.workers > self.max_connections:
            yield Problem(
                "WORKERS",
                f"is {self.workers}, more than the connections they share (DB_MAX_CONNECTIONS)",
                f"at most {self.max_connections}",
            )
