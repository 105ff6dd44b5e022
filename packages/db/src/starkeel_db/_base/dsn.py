"""Parses database URLs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, cast, get_args
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

ACCEPTED = "a postgresql://USER:PASSWORD@HOST:PORT/NAME or sqlite:///PATH URL"
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
SessionAttrs = Literal["any", "primary", "standby", "read-write", "read-only", "prefer-standby"]
"""Required server role when a URL has several hosts; values of libpq's `target_session_attrs`."""

_POSTGRES = {"postgres", "postgresql", "postgresql+asyncpg"}
_SQLITE = {"sqlite", "sqlite+aiosqlite"}
_PORT = 5432


class UnusableUrl(ValueError):
    """Invalid database URL; the message gives the reason and never contains a part of the password."""


class Address(NamedTuple):
    """Address of a server; a host that starts with a slash is the directory of a Unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A PostgreSQL database and its connection parameters; addresses are tried in order."""

    dialect: ClassVar = "postgresql"
    addresses: tuple[Address, ...]
    user: str
    password: str | None = field(repr=False)
    database: str
    ssl_mode: SslMode
    ssl_root_cert: str | None
    application_name: str | None
    session_attrs: SessionAttrs

    def __str__(self) -> str:
        return f"postgresql at {','.join(map(str, self.addresses))}/{self.database}"


@dataclass(frozen=True, slots=True)
class SqliteUrl:
    """An SQLite file."""

    dialect: ClassVar = "sqlite"
    path: Path

    def __str__(self) -> str:
        return f"sqlite at {self.path}"


DatabaseUrl = PostgresUrl | SqliteUrl


def parse_url(text: str) -> DatabaseUrl:
    """Parse a database URL.

    `postgres://` and `postgresql://` accept several comma-separated hosts and libpq's parameters `sslmode`,
    `sslrootcert`, `application_name`, `target_session_attrs` and `host` (directory of a Unix socket).

    Raises:
        UnusableUrl: The URL is malformed, or uses a scheme or parameter that is not supported.
    """
    try:
        parts = urlsplit(text.strip())
        addresses = _addresses(parts)
    except ValueError:
        raise UnusableUrl(
            "is not a URL: its host or port is malformed, or its password contains `#`, `/` or `?`, which "
            "must be written %23, %2F or %3F"
        ) from None
    if parts.fragment:
        raise UnusableUrl("has a fragment: write `#` as %23 in a password")
    if parts.scheme in _SQLITE:
        return _sqlite(parts)
    if parts.scheme in _POSTGRES:
        return _postgres(parts, addresses)
    raise UnusableUrl("names neither PostgreSQL nor SQLite")


def _sqlite(parts: SplitResult) -> SqliteUrl:
    if parts.netloc:
        raise UnusableUrl("has a host: an SQLite URL is three slashes and a path")
    if parts.query:
        raise UnusableUrl("has parameters, which are not supported for SQLite")
    path = unquote(parts.path.removeprefix("/"))
    if path in {"", ":memory:"}:
        raise UnusableUrl("is an SQLite database in memory, which the processes of a service cannot share")
    return SqliteUrl(Path(path))


def _addresses(parts: SplitResult) -> tuple[Address, ...]:
    """Return the addresses in a URL, an empty host if it has none; raise ValueError if one is malformed."""
    found = []
    for text in parts.netloc.rpartition("@")[2].split(","):
        split = urlsplit(f"//{text}")
        found.append(Address(unquote(split.hostname or ""), _PORT if split.port is None else split.port))
    return tuple(found)


def _postgres(parts: SplitResult, addresses: tuple[Address, ...]) -> PostgresUrl:
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    socket = parameters.pop("host", None)
    ssl_mode = parameters.pop("sslmode", "prefer")
    root_cert = parameters.pop("sslrootcert", None)
    application_name = parameters.pop("application_name", None)
    session_attrs = parameters.pop("target_session_attrs", "any")
    if parameters:
        raise UnusableUrl(f"has an unsupported parameter: {', '.join(sorted(parameters))[:80]!r}")
    for name, value, accepted in (
        ("sslmode", ssl_mode, get_args(SslMode)),
        ("target_session_attrs", session_attrs, get_args(SessionAttrs)),
    ):
        if value not in accepted:
            raise UnusableUrl(f"has an invalid {name}, which must be one of {', '.join(accepted)}")
    if socket and not any(address.host for address in addresses):
        addresses = (Address(socket, addresses[0].port),)
    database = unquote(parts.path.removeprefix("/"))
    has_hosts = all(address.host for address in addresses)
    for is_named, what in ((has_hosts, "host"), (parts.username, "user"), (database, "database")):
        if not is_named:
            raise UnusableUrl(f"names no {what}")
    return PostgresUrl(
        addresses=addresses,
        user=unquote(cast("str", parts.username)),
        password=None if parts.password is None else unquote(parts.password),
        database=database,
        ssl_mode=cast("SslMode", ssl_mode),
        ssl_root_cert=root_cert,
        application_name=application_name,
        session_attrs=cast("SessionAttrs", session_attrs),
    )
