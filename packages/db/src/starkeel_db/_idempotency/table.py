"""The table of stored responses and its queries."""

from typing import Any, Final

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BindParameter, Column, LargeBinary, MetaData, SmallInteger, Table, bindparam, text

from .._outbox.writer import EVENT_TYPES, INSERT_IN_TURN

TABLE: Final = "idempotency_keys"

# A transaction-level lock: released at the end of the transaction, and compatible with a pooler.
_CLAIM: Final = (
    "SELECT {} AS is_acquired, k.fingerprint, k.status, k.headers, k.body FROM (SELECT 1) AS single"
    " LEFT JOIN idempotency_keys AS k ON k.key = :key AND k.expires_at > :now"
)
_CLAIM_TYPES: Final[tuple[BindParameter[Any], ...]] = (
    bindparam("key", type_=LargeBinary),
    bindparam("now", type_=DateTimeUTC(timezone=True)),
)
CLAIM_ON_POSTGRES: Final = text(_CLAIM.format("pg_try_advisory_xact_lock(CAST(:turn AS bigint))")).bindparams(
    *_CLAIM_TYPES
)
# The transaction already holds the write lock.
CLAIM_ON_SQLITE: Final = text(_CLAIM.format("1")).bindparams(*_CLAIM_TYPES)

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
KEEP: Final = text(_INSERT).bindparams(*_KEEP_TYPES)
KEEP_WITH_EVENT: Final = text(f"WITH event AS ({INSERT_IN_TURN}) {_INSERT}").bindparams(
    *_KEEP_TYPES, *EVENT_TYPES
)


def idempotency_table(metadata: MetaData) -> Table:
    """Return the table; add it to the metadata if necessary."""
    found = metadata.tables.get(TABLE)
    if found is not None:
        return found
    return Table(
        TABLE,
        metadata,
        Column("key", LargeBinary(32), primary_key=True),
        Column("fingerprint", LargeBinary(32), nullable=False),
        Column("status", SmallInteger, nullable=False),
        Column("headers", LargeBinary, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("expires_at", DateTimeUTC(timezone=True), nullable=False, index=True),
    )
