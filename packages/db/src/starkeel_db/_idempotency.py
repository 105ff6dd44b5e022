"""Stores responses to requests with an `Idempotency-Key`, in the transaction of the request."""

import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, final

from advanced_alchemy.types import DateTimeUTC
from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.plugins import InitPlugin
from litestar.types import Scope
from sqlalchemy import BindParameter, Column, LargeBinary, MetaData, SmallInteger, Table, bindparam, text

from ._outbox.writer import EVENT_TYPES, INSERT_IN_TURN, last_to_write
from ._plugin import DatabasePlugin, database_of
from ._retention import delete_batch, deleting_unless_scheduled
from ._session.unit_of_work import is_postgres

_TABLE: Final = "idempotency_keys"

# A transaction-level lock: released at the end of the transaction, and compatible with a pooler.
_CLAIM: Final = (
    "SELECT {} AS is_acquired, k.fingerprint, k.status, k.headers, k.body FROM (SELECT 1) AS single"
    " LEFT JOIN idempotency_keys AS k ON k.key = :key AND k.expires_at > :now"
)
_CLAIM_TYPES: Final[tuple[BindParameter[Any], ...]] = (
    bindparam("key", type_=LargeBinary),
    bindparam("now", type_=DateTimeUTC(timezone=True)),
)
_CLAIM_ON_POSTGRES: Final = text(
    _CLAIM.format("pg_try_advisory_xact_lock(CAST(:turn AS bigint))")
).bindparams(*_CLAIM_TYPES)
# The transaction already holds the write lock.
_CLAIM_ON_SQLITE: Final = text(_CLAIM.format("1")).bindparams(*_CLAIM_TYPES)

# An expired row may not be deleted yet.
_INSERT: Final = (
    "INSERT INTO idempotency_keys (key, fingerprint, status, headers, body, expires_at)"
    " VALUES (:key, :fingerprint, :status, :headers, :body, :expires_at) ON CONFLICT (key) DO UPDATE"
    " SET fingerprint = excluded.fingerprint, status = excluded.status, headers = excluded.headers,"
    " body = excluded.body, expires_at = excluded.expires_at WHERE idempotency_keys.expires_at <= :now"
    " RETURNING idempotency_keys.status"
)
_KEEP_TYPES: Final[tuple[BindParameter[Any], ...]] = (
    *_CLAIM_TYPES,
    *(bindparam(name, type_=LargeBinary) for name in ("fingerprint", "headers", "body")),
    bindparam("status", type_=SmallInteger),
    bindparam("expires_at", type_=DateTimeUTC(timezone=True)),
)
_KEEP: Final = text(_INSERT).bindparams(*_KEEP_TYPES)
_KEEP_WITH_EVENT: Final = text(f"WITH event AS ({INSERT_IN_TURN}) {_INSERT}").bindparams(
    *_KEEP_TYPES, *EVENT_TYPES
)


@final
class IdempotencyPlugin(InitPlugin):
    """Stores responses in a table, as part of the request's unit of work.

    `starkeel_http` finds this plugin by its methods. The service's migrations must create the table.

    Args:
        database: Database of the service; by default that of the application's `DatabasePlugin`.
        metadata: Metadata of the models, by default the database's; the table `idempotency_keys` is added.
        lifetime: How long a response is stored.
    """

    _database: DatabasePlugin
    _table: Table

    def __init__(
        self, database: DatabasePlugin | None = None, *, metadata: MetaData | None = None, lifetime: timedelta
    ) -> None:
        self._given = database
        self._metadata = metadata
        self._lifetime = lifetime

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the table and the deletion of expired responses."""
        self._database = self._given or database_of(app_config)
        self._table = _idempotency_table(self._metadata or self._database.metadata)
        app_config.lifespan.append(self._lifespan)
        return app_config

    async def claim_idempotency_key(
        self, scope: Scope, key: bytes
    ) -> Literal["free", "taken"] | tuple[bytes, int, list[tuple[bytes, bytes]], bytes]:
        """Lock a key until the end of the request's unit of work, or return the stored response.

        Does not wait for a locked key on PostgreSQL. On SQLite it waits for the write lock and then finds the
        response that the other request stored. A key has 32 bytes.
        """
        session = self._database.request_session(scope)
        statement, parameters = _CLAIM_ON_SQLITE, {"key": key, "now": datetime.now(UTC)}
        if is_postgres(session):
            statement = _CLAIM_ON_POSTGRES
            parameters["turn"] = int.from_bytes(key[:8], "big", signed=True)
        row = (await session.execute(statement, parameters)).one()
        if not row.is_acquired:
            return "taken"
        if row.fingerprint is None:
            return "free"
        return row.fingerprint, row.status, _unpacked(row.headers), row.body

    async def keep_idempotent_answer(
        self, scope: Scope, key: bytes, answer: tuple[bytes, int, Iterable[tuple[bytes, bytes]], bytes]
    ) -> bool:
        """Store a response in the request's unit of work; return False if another request has stored one.

        Args:
            scope: Scope of the request.
            key: 32 bytes.
            answer: Fingerprint of the request; status, headers and body of the response.
        """
        session = self._database.request_session(scope)
        fingerprint, status, headers, body = answer
        now = datetime.now(UTC)
        parameters: dict[str, Any] = {
            "key": key,
            "fingerprint": fingerprint,
            "status": status,
            "headers": _packed(headers),
            "body": body,
            "expires_at": now + self._lifetime,
            "now": now,
        }
        statement = _KEEP
        if is_postgres(session) and (event := await last_to_write(session)) is not None:
            # One statement instead of two saves a round trip.
            statement = _KEEP_WITH_EVENT
            parameters |= event
        return (await session.execute(statement, parameters)).first() is not None

    async def delete_old_rows(self) -> int:
        """Delete at most 1000 expired responses and return their number."""
        columns = self._table.c
        async with self._database.session() as session:
            return await delete_batch(session, columns.key, columns.expires_at <= datetime.now(UTC))

    @asynccontextmanager
    async def _lifespan(self, app: Litestar) -> AsyncGenerator[None]:
        async with deleting_unless_scheduled(app, self.delete_old_rows, "idempotency keys"):
            yield


def _packed(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return json.dumps([[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]).encode()


def _unpacked(packed: bytes) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in json.loads(packed)]


def _idempotency_table(metadata: MetaData) -> Table:
    """Return the table; add it to the metadata if necessary."""
    if _TABLE in metadata.tables:
        return metadata.tables[_TABLE]
    return Table(
        _TABLE,
        metadata,
        Column("key", LargeBinary(32), primary_key=True),
        Column("fingerprint", LargeBinary(32), nullable=False),
        Column("status", SmallInteger, nullable=False),
        Column("headers", LargeBinary, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("expires_at", DateTimeUTC(timezone=True), nullable=False, index=True),
    )
