"""Answers to requests with an `Idempotency-Key`, kept in the transaction of what they tell of."""

import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, final

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.plugins import InitPlugin
from litestar.types import Scope
from sqlalchemy import MetaData, delete, select

from .._outbox.table import is_postgres
from .._outbox.writer import event_parameters, last_to_write
from .._plugin import DatabasePlugin
from .._retention import swept
from .table import CLAIM_OF_POSTGRES, CLAIM_OF_SQLITE, KEEP, KEEP_WITH_EVENT, idempotency_table

_SWEEP_EVERY_S: Final = 60.0
_SWEPT_AT_ONCE: Final = 1000
_LOCK_BYTES: Final = 8


class _Answer(NamedTuple):
    fingerprint: bytes
    status: int
    headers: Iterable[tuple[bytes, bytes]]
    body: bytes


@final
class IdempotencyKeys(InitPlugin):
    """Keeps answers in a table, as part of the unit of work that is answered.

    `starkeel_http` finds this by its methods. The table is the service's own to migrate.

    Args:
        database: Where to.
        metadata: The models; a table `idempotency_keys` is added to them.
        lifetime: How long an answer is kept.
    """

    def __init__(self, database: DatabasePlugin, *, metadata: MetaData, lifetime: timedelta) -> None:
        self._database = database
        self._lifetime = lifetime
        self._table = idempotency_table(metadata)

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Have answers forgotten in time while the application runs."""
        app_config.lifespan.append(self._lifespan)
        return app_config

    async def claim_idempotency_key(
        self, scope: Scope, key: bytes
    ) -> Literal["free", "taken"] | tuple[bytes, int, list[tuple[bytes, bytes]], bytes]:
        """Claim a key until the request's unit of work ends, or return what was kept under it.

        Nobody waits for a key on PostgreSQL. On SQLite another process that writes is waited for: it has the
        file to itself, and what it kept is found then.

        Args:
            scope: The request's.
            key: 32 bytes.
        """
        session = self._database.request_session(scope)
        parameters: dict[str, Any] = {"key": key, "now": datetime.now(UTC)}
        if is_postgres(session):
            parameters["turn"] = int.from_bytes(key[:_LOCK_BYTES], "big", signed=True)
            found = await session.execute(CLAIM_OF_POSTGRES, parameters)
        else:
            found = await session.execute(CLAIM_OF_SQLITE, parameters)
        row = found.one()
        if not row.is_ours:
            return "taken"
        if row.fingerprint is None:
            return "free"
        return row.fingerprint, row.status, _unpacked(row.headers), row.body

    async def keep_idempotent_answer(
        self, scope: Scope, key: bytes, answer: tuple[bytes, int, Iterable[tuple[bytes, bytes]], bytes]
    ) -> bool:
        """Write an answer in the request's unit of work; whether nobody else had kept one meanwhile.

        Args:
            scope: The request's.
            key: 32 bytes.
            answer: The request's fingerprint, and the answer's status, headers and body.
        """
        session = self._database.request_session(scope)
        fingerprint, status, headers, body = _Answer(*answer)
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
        statement = KEEP
        if is_postgres(session) and (event := await last_to_write(session)) is not None:
            # A round trip less for who waits.
            statement = KEEP_WITH_EVENT
            parameters |= event_parameters(event)
        return (await session.execute(statement, parameters)).first() is not None

    async def forget_expired(self) -> int:
        """Delete answers whose time is over; how many that were, at most a thousand."""
        table = self._table
        expired = select(table.c.key).where(table.c.expires_at <= datetime.now(UTC)).limit(_SWEPT_AT_ONCE)
        async with self._database.session() as session:
            if is_postgres(session):
                # Another process sweeps what it has locked.
                expired = expired.with_for_update(skip_locked=True)
            gone = await session.execute(delete(table).where(table.c.key.in_(expired)).returning(table.c.key))
            return len(gone.all())

    @asynccontextmanager
    async def _lifespan(self, _: Litestar) -> AsyncGenerator[None]:
        async with swept(
            self.forget_expired, "idempotency keys", every_s=_SWEEP_EVERY_S, at_once=_SWEPT_AT_ONCE
        ):
            yield


def _packed(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return json.dumps([[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]).encode()


def _unpacked(packed: bytes) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in json.loads(packed)]
