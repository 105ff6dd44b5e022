"""The database's URL, as an operator writes it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

ACCEPTED = "a postgresql://USER:PASSWORD@HOST:PORT/NAME or sqlite:///PATH URL"
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

"""What a URL that is understood begins with."""

_POSTGRES = {"postgres", "postgresql", "postgresql+asyncpg"}
_SQLITE = {"sqlite", "sqlite+aiosqlite"}
_PORT = 5432


class UnusableUrl(ValueError):
    """The text is no URL of a database; says why and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A PostgreSQL database, and how to reach it."""

    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    database: str
    ssl_mode: SslMode
    ssl_root_cert: str | None
    application_name: str | None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"postgresql at {host}:{self.port}/{self.database}"


@dataclass(frozen=True, slots=True)
class SqliteUrl:
    """An SQLite file."""

    path: Path

    def __str__(self) -> str:
        return f"sqlite at {self.path}"


DatabaseUrl = PostgresUrl | SqliteUrl


def parse_url(text: str) -> DatabaseUrl:
    """Read a URL.

    `postgres://` and `postgresql://` take libpq's `sslmode`, `sslrootcert`, `application_name` and `host` as
    parameters; that host is the directory of a Unix socket.

    Raises:
        UnusableUrl: It is none, or none that is understood here.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise UnusableUrl(
            "is no URL: its host or port is malformed, or a password has `#`, `/` or `?` in it that is not "
            "written %23, %2F or %3F"
        ) from None
    if parts.fragment:
        raise UnusableUrl("has a fragment: write `#` as %23 in a password")
    if parts.scheme in _SQLITE:
        return _sqlite(parts)
    if parts.scheme in _POSTGRES:
        return _postgres(parts, port)
    raise UnusableUrl("names neither PostgreSQL nor SQLite")


def _sqlite(parts: SplitResult) -> SqliteUrl:
    if parts.netloc:
        raise UnusableUrl("has a host: an SQLite file is named by three slashes and its path")
    if parts.query:
        raise UnusableUrl("has parameters, of which SQLite takes none here")
    path = unquote(parts.path.removeprefix("/"))
    if path in {"", ":memory:"}:
        raise UnusableUrl("is an SQLite database in memory, which the processes of a service cannot share")
    return SqliteUrl(Path(path))


def _postgres(parts: SplitResult, port: int | None) -> PostgresUrl:
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    socket = parameters.pop("host", None)
    ssl_mode = parameters.pop("sslmode", "prefer")
    root_cert = parameters.pop("sslrootcert", None)
    application_name = parameters.pop("application_name", None)
    if parameters:
        raise UnusableUrl(f"has a parameter that is not understood: {', '.join(sorted(parameters))[:80]!r}")
    if ssl_mode not in get_args(SslMode):
        raise UnusableUrl(f"has an sslmode that is none of {', '.join(get_args(SslMode))}")
    host = parts.hostname or socket
    database = unquote(parts.path.removeprefix("/"))
    for value, what in ((host, "host"), (parts.username, "user"), (database, "database")):
        if not value:
            raise UnusableUrl(f"names no {what}")
    if "," in parts.netloc.rpartition("@")[2]:
        raise UnusableUrl("names several hosts")
    return PostgresUrl(
        host=unquote(cast("str", host)),
        port=_PORT if port is None else port,
        user=unquote(cast("str", parts.username)),
        password=None if parts.password is None else unquote(parts.password),
        database=database,
        ssl_mode=cast("SslMode", ssl_mode),
        ssl_root_cert=root_cert,
        application_name=application_name,
    )
