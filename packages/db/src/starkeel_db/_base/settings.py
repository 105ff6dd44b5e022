"""What the environment says about the database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from msgspec import Meta
from starkeel_config import Environment, Problem, Secret, Settings, Variable

from .dsn import ACCEPTED, DatabaseUrl, PostgresUrl, parse_url


def _must_be_usable(url: Secret) -> None:
    target = parse_url(url.reveal())
    if not isinstance(target, PostgresUrl) or target.ssl_root_cert in {None, "", "system"}:
        return
    if not Path(str(target.ssl_root_cert)).is_file():
        raise ValueError("has an sslrootcert that is neither the path of a PEM file nor `system`")


def _scheme(url: Secret) -> str:
    """Return what kind of database it is; a URL that cannot be read has been told of already."""
    return url.reveal().partition(":")[0].replace("postgresql", "postgres")


class DatabaseSettings(Settings, frozen=True, kw_only=True):
    """The database, its pool and its migrations."""

    url: Annotated[
        Secret,
        Variable("DATABASE_URL", development="sqlite:///.data/{service}.db", check=_must_be_usable),
        Meta(description=f"{ACCEPTED} (secret)"),
    ]
    """Where the database is. PostgreSQL takes `sslmode` (`disable` to `verify-full`) and `sslrootcert`; an
    SQLite path is relative, or absolute after a fourth slash."""

    migrations_url: Annotated[
        Secret | None,
        Variable("MIGRATIONS_DATABASE_URL", check=_must_be_usable),
        Meta(description=f"{ACCEPTED} (secret)"),
    ] = None
    """The same database for migrations: another user who may change tables, or past a pooler in transaction
    mode, behind which no lock of a session holds."""

    pgbouncer: Annotated[bool, Variable("DB_PGBOUNCER")] = False
    """Whether DATABASE_URL leads to a PgBouncer in transaction mode: nothing is prepared or set for a
    session, limits are set in each transaction, and migrations go by MIGRATIONS_DATABASE_URL."""

    max_connections: Annotated[int, Variable("DB_MAX_CONNECTIONS"), Meta(ge=1, le=10_000)] = 20
    """Connections of one instance, shared out among its workers."""

    min_connections: Annotated[int, Variable("DB_MIN_CONNECTIONS"), Meta(ge=0, le=10_000)] = 5
    """Connections of one instance that are kept open while idle, shared out likewise."""

    acquire_timeout_s: Annotated[float, Variable("DB_ACQUIRE_TIMEOUT_SECONDS"), Meta(ge=0.05, le=300)] = 5.0
    """Seconds to wait for a free connection, a new one, or SQLite's lock; then the answer is 503."""

    idle_timeout_s: Annotated[float, Variable("DB_IDLE_TIMEOUT_SECONDS"), Meta(ge=1, le=86_400)] = 600.0
    """Seconds after which an unused connection above the minimum is closed."""

    max_lifetime_s: Annotated[float, Variable("DB_MAX_LIFETIME_SECONDS"), Meta(ge=1, le=604_800)] = 1800.0
    """Seconds after which a connection is replaced, up to a tenth earlier so that not all are at once."""

    statement_timeout_s: Annotated[
        float, Variable("DB_STATEMENT_TIMEOUT_SECONDS"), Meta(ge=0.01, le=3600)
    ] = 10.0
    """Seconds one statement of a request may take on PostgreSQL; less when the request has less left."""

    startup_timeout_s: Annotated[float, Variable("DB_STARTUP_TIMEOUT_SECONDS"), Meta(ge=0, le=3600)] = 30.0
    """Seconds the start waits for the database to answer; then the process exits with 69."""

    run_migrations: Annotated[bool, Variable("RUN_MIGRATIONS")] = True
    """Whether the start applies missing migrations; off where a job does it by the `migrate` verb."""

    workers: Annotated[int, Variable("WORKERS"), Meta(ge=1, le=64)] = 1
    """Processes that serve; replicas are the usual way to scale."""

    @property
    def target(self) -> DatabaseUrl:
        """The URL, read."""
        return parse_url(self.url.reveal())

    @property
    def migrations_target(self) -> DatabaseUrl:
        """The URL for migrations, read."""
        return self.target if self.migrations_url is None else parse_url(self.migrations_url.reveal())

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Refuse a pool that cannot be shared out."""
        del environment
        if self.migrations_url is not None and _scheme(self.migrations_url) != _scheme(self.url):
            yield Problem("MIGRATIONS_DATABASE_URL", "is another kind of database", "one like DATABASE_URL")
        if self.pgbouncer and not isinstance(self.target, PostgresUrl):
            yield Problem("DB_PGBOUNCER", "is true, and DATABASE_URL is no PostgreSQL", "false")
        elif self.pgbouncer and self.run_migrations and self.migrations_url is None:
            yield Problem(
                "MIGRATIONS_DATABASE_URL",
                "is not set, and behind PgBouncer (DB_PGBOUNCER) no lock of a session holds",
                "a URL straight to the server, or RUN_MIGRATIONS=false where a job migrates",
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
