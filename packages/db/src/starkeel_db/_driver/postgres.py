"""Opens connections to PostgreSQL with asyncpg."""

import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

import asyncpg  # type: ignore[import-untyped]  # untyped upstream

from .._base.dsn import Address, PostgresUrl
from .._base.errors import DatabaseUnavailable
from .statements import Open

_REASONS = {
    "28P01": "the password is wrong",
    "28000": "the user may not connect",
    "3D000": "the database does not exist",
    "53300": "it has no free connection slots",
    "57P03": "it is starting or stopping",
}
_LASTING = frozenset({"28P01", "28000", "3D000"})
_FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


def postgres_opener(
    url: PostgresUrl,
    *,
    application_name: str,
    connect_timeout_s: float,
    server_settings: Mapping[str, str],
    is_prepared: bool = True,
) -> Open:
    """Return a function that opens a connection.

    The URL may override `application_name`; `connect_timeout_s` are seconds for all addresses together, and
    `is_prepared` is whether prepared statements may be cached.
    """
    options = {} if is_prepared else {"statement_cache_size": 0}
    settings = {"application_name": url.application_name or application_name, **server_settings}

    async def connect(address: Address, timeout_s: float) -> Any:
        try:
            return await asyncpg.connect(
                host=address.host,
                port=address.port,
                user=url.user,
                password=url.password,
                database=url.database,
                ssl=tls(url),
                timeout=timeout_s,
                server_settings=settings,
                target_session_attrs=url.session_attrs,
                **options,
            )
        except _FAILURES as error:
            raise _unavailable(url, error) from error

    async def open_connection() -> Any:
        ends_at = time.monotonic() + connect_timeout_s
        *others, last = url.addresses
        for number, address in enumerate(others):
            # An address that drops packets must leave time for the others.
            left_s = max(0.0, ends_at - time.monotonic()) / (len(url.addresses) - number)
            with suppress(DatabaseUnavailable):
                return await connect(address, left_s)
        return await connect(last, max(0.0, ends_at - time.monotonic()))

    return open_connection


def tls(url: PostgresUrl) -> ssl.SSLContext | Literal["allow", "prefer"] | bool:
    """Return asyncpg's `ssl` argument for an `sslmode`, with the semantics of libpq.

    Trusted certificates are those of `sslrootcert`, otherwise those of the system.
    """
    if url.ssl_mode == "disable":
        return False
    if url.ssl_mode in {"allow", "prefer"}:
        return "allow" if url.ssl_mode == "allow" else "prefer"
    root_cert = url.ssl_root_cert if url.ssl_root_cert != "system" else None
    context = ssl.create_default_context(cafile=root_cert or None)
    context.check_hostname = url.ssl_mode == "verify-full"
    # libpq: with a root certificate, `require` verifies like `verify-ca`.
    if url.ssl_mode == "require" and not url.ssl_root_cert:
        context.verify_mode = ssl.CERT_NONE
    return context


def _unavailable(url: PostgresUrl, error: Exception) -> DatabaseUnavailable:
    state = getattr(error, "sqlstate", None)
    if "unsupported startup parameter" in str(error):
        why = "it is a PgBouncer, which does not support session parameters: set DB_PGBOUNCER=true"
    elif isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        why = f"no server is {url.session_attrs}"
    elif isinstance(error, TimeoutError):
        why = "it does not answer"
    elif state in _REASONS:
        why = _REASONS[state]
    else:
        why = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0].lower()
    return DatabaseUnavailable(f"{url} cannot be reached: {why}", is_lasting=state in _LASTING)
