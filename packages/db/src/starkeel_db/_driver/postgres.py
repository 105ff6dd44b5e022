"""Opens connections to PostgreSQL with asyncpg."""

import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # untyped upstream

from .._base.dsn import Address, PostgresUrl
from .._base.errors import CommitRefusedError, DatabaseUnavailable
from .last_statement import LastStatement
from .statements import Open

_REASONS = {
    "28P01": "the password is wrong",
    "28000": "the user may not connect",
    "3D000": "the database does not exist",
    "53300": "it has no free connection slots",
    "57P03": "it is starting or stopping",
}
_COMMIT = "COMMIT;"
_ROLLBACK = "ROLLBACK;"
_ENDS = frozenset({_COMMIT, _ROLLBACK})
"""Statements of asyncpg's transactions."""
_LASTING = frozenset({"28P01", "28000", "3D000"})
_REFUSED = (asyncpg.InvalidAuthorizationSpecificationError, ConnectionError, ssl.SSLError)
"""With or without TLS; the password may be wrong as well."""
_FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Connection(asyncpg.Connection):  # type: ignore[misc]  # untyped upstream
    """A connection that sends the last statement of a transaction together with its COMMIT."""

    last_statement: LastStatement | None = None

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:  # noqa: ASYNC109
        """Execute a statement, or several without parameters in one round trip."""
        last = self.last_statement
        if last is None or query not in _ENDS:
            return str(await super().execute(query, *args, timeout=timeout))
        self.last_statement = None
        if query != _COMMIT:
            return str(await super().execute(query, timeout=timeout))
        try:
            status = await super().execute(f"{last.text}; {query}", timeout=timeout)
        except asyncpg.PostgresError as error:
            if self.is_in_transaction():
                # The statement has failed, and COMMIT was not executed.
                await super().execute(_ROLLBACK, timeout=timeout)
            if last.refusal in str(error):
                raise CommitRefusedError from error
            raise
        last.is_sent = True
        return str(status)


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

    async def attempt(address: Address, timeout_s: float, tls: ssl.SSLContext | bool) -> Any:
        # Everything that asyncpg would otherwise read from `PG*` variables or from the home directory, which
        # may belong to another user.
        return await asyncpg.connect(
            host=address.host,
            port=address.port,
            user=url.user,
            password=url.password or "",
            database=url.database,
            ssl=tls,
            direct_tls=False,
            gsslib="gssapi",
            timeout=timeout_s,
            server_settings=settings,
            target_session_attrs=url.session_attrs,
            connection_class=Connection,
            **options,
        )

    async def connect(address: Address, timeout_s: float) -> Any:
        ends_at, refusal = time.monotonic() + timeout_s, None
        try:
            for tls in tls_attempts(url, address):
                try:
                    return await attempt(address, ends_at - time.monotonic(), tls)
                except _REFUSED as error:
                    if isinstance(error, ConnectionRefusedError):
                        raise
                    # The first answer of the server itself is the most useful reason.
                    refusal = refusal if isinstance(refusal, asyncpg.PostgresError) else error
            assert refusal is not None
            raise refusal
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


def tls_attempts(url: PostgresUrl, address: Address) -> Sequence[ssl.SSLContext | bool]:
    """Return asyncpg's `ssl` arguments for an `sslmode`; the second is for a server that refuses the first.

    The semantics are those of libpq. Trusted certificates are those of `sslrootcert`, otherwise those of the
    system. asyncpg's own `prefer` and `allow` read client certificates in the home directory.
    """
    if url.ssl_mode == "disable" or address.host.startswith("/"):
        return [False]
    if url.ssl_mode in {"allow", "prefer"}:
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        return [unverified, False] if url.ssl_mode == "prefer" else [False, unverified]
    root_cert = url.ssl_root_cert if url.ssl_root_cert != "system" else None
    context = ssl.create_default_context(cafile=root_cert or None)
    # `SSLKEYLOGFILE` of the environment would write the keys of the connections to a file.
    context.keylog_filename = None  # type: ignore[assignment]  # typeshed has no None, which disables it
    context.check_hostname = url.ssl_mode == "verify-full"
    # libpq: with a root certificate, `require` verifies like `verify-ca`.
    if url.ssl_mode == "require" and not url.ssl_root_cert:
        context.verify_mode = ssl.CERT_NONE
    return [context]


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
