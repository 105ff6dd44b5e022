"""The database's URL, as an operator writes it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, cast, get_args
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

ACCEPTED = "a postgresql://USER:PASSWORD@HOST:PORT/NAME or sqlite:///PATH URL"
SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
SessionAttrs = Literal["any", "primary", "standby", "read-write", "read-only", "prefer-standby"]
"""Which of several servers is wanted, as libpq calls it."""

_POSTGRES = {"postgres", "postgresql", "postgresql+asyncpg"}
_SQLITE = {"sqlite", "sqlite+aiosqlite"}
_PORT = 5432


class UnusableUrl(ValueError):
    """The text is no URL of a database; says why and repeats nothing of it."""


class Address(NamedTuple):
    """Where a server listens; a host that begins with a slash is the directory of a Unix socket."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A PostgreSQL database, and how to reach it: at one address, or at the first of several that will do."""

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

    path: Path

    def __str__(self) -> str:
        return f"sqlite at {self.path}"


DatabaseUrl = PostgresUrl | SqliteUrl


def parse_url(text: str) -> DatabaseUrl:
    """Read a URL.

    `postgres://` and `postgresql://` take several hosts, separated by commas, and libpq's `sslmode`,
    `sslrootcert`, `application_name`, `target_session_attrs` and `host` as parameters; that host is the
    directory of a Unix socket.

    Raises:
        UnusableUrl: It is none, or none that is understood here.
    """
    try:
        parts = urlsplit(text.strip())
        addresses = _addresses(parts)
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
        return _postgres(parts, addresses)
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


def _addresses(parts: SplitResult) -> tuple[Address, ...]:
    """Read the hosts of a URL; without one there is one without a name.

    Raises:
        ValueError: One of them is malformed.
    """
    found = []
    for text in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{text}")
        found.append(Address(unquote(one.hostname or ""), _PORT if one.port is None else one.port))
    return tuple(found)


def _postgres(parts: SplitResult, addresses: tuple[Address, ...]) -> PostgresUrl:
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    socket = parameters.pop("host", None)
    ssl_mode = parameters.pop("sslmode", "prefer")
    root_cert = parameters.pop("sslrootcert", None)
    application_name = parameters.pop("application_name", None)
    session_attrs = parameters.pop("target_session_attrs", "any")
    if parameters:
        raise UnusableUrl(f"has a parameter that is not understood: {', '.join(sorted(parameters))[:80]!r}")
    _one_of("sslmode", ssl_mode, get_args(SslMode))
    _one_of("target_session_attrs", session_attrs, get_args(SessionAttrs))
    if socket and not any(address.host for address in addresses):
        addresses = (Address(socket, addresses[0].port),)
    database = unquote(parts.path.removeprefix("/"))
    has_hosts = all(address.host for address in addresses)
    for value, what in ((has_hosts, "host"), (parts.username, "user"), (database, "database")):
        if not value:
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


def _one_of(name: str, value: str, accepted: tuple[str, ...]) -> None:
    if value not in accepted:
        article = "an" if name[0] in "aeiou" or name.startswith("ssl") else "a"
        raise UnusableUrl(f"has {article} {name} that is none of {', '.join(accepted)}")
