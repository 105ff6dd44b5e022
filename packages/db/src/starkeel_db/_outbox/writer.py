"""The outbox table; events are written to it at the end of their transaction.

A writer of an event blocks other writers of the same key until it commits. Written last, the events block
only for a moment; written in the order of their keys, they cannot deadlock.
"""

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import anyio
from advanced_alchemy.types import DateTimeUTC
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    bindparam,
    text,
)
from sqlalchemy.event import listens_for
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction
from structlog.contextvars import get_contextvars

from .._session.unit_of_work import RequestSession, is_postgres

TABLE: Final = "outbox"
GAP: Final = "gap"
"""Kind of what a subscription returns instead of events that may be missing."""
_PENDING: Final = "starkeel_events"
_TURN: Final = "event_turn"
TRACEPARENT: Final = "traceparent"
MAX_REQUEST_ID: Final = 200
# Always W3C, whatever propagator the process uses: the value is stored and read later.
propagator: Final = TraceContextTextMapPropagator()


class Event(NamedTuple):
    """An event as it is published.

    Args:
        position: Position in the outbox; it increases among the events of a key.
        key: Ordering key: events with the same key are published in order.
        payload: Content, as JSON.
        traceparent: Span in which the event happened, as a W3C `traceparent`, or None if it was not traced.
        request_id: Id of the request that caused it, if any; only for brokers.
        created_at: When it happened; only for brokers.
    """

    position: int
    key: str
    kind: str
    payload: str
    traceparent: str | None = None
    request_id: str | None = None
    created_at: datetime | None = None


def outbox_table(metadata: MetaData, *, dialect: str) -> Table:
    """Return the table; add it to the metadata if necessary.

    It has options of the given dialect only, because SQLAlchemy imports the dialects of options.
    """
    if TABLE in metadata.tables:
        return metadata.tables[TABLE]
    # SQLite: positions must not be reused after the last rows are deleted.
    options: dict[str, Any] = {"sqlite_autoincrement": True} if dialect == "sqlite" else {}
    where: dict[str, Any] = {f"{dialect}_where": text("published_at IS NULL")}
    return Table(
        TABLE,
        metadata,
        Column(
            "position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
        ),
        Column("key", String(64), nullable=False),
        Column("kind", String(64), nullable=False),
        Column("payload", Text, nullable=False),
        Column("created_at", DateTimeUTC(timezone=True), nullable=False, index=True),
        Column("published_at", DateTimeUTC(timezone=True)),
        Column("attempts", SmallInteger, nullable=False, server_default="0"),
        Column("retry_at", DateTimeUTC(timezone=True)),
        Column("dead_at", DateTimeUTC(timezone=True)),
        Column("traceparent", String(55)),
        Column("request_id", String(MAX_REQUEST_ID)),
        Index("ix_outbox_key_position", "key", "position"),
        Index("ix_outbox_unpublished", "position", **where),
        **options,
    )


PendingEvent = dict[str, Any]
"""Parameters of the statement that writes an event."""


class Notifier:
    """In-process notifier: `notify_all` wakes every waiter."""

    _event: anyio.Event | None = None

    def notify_all(self) -> None:
        """Wake every waiter."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self, *, timeout_s: float) -> None:
        """Wait for a notification, or until `timeout_s` seconds have passed."""
        event = self._event = self._event or anyio.Event()
        with anyio.move_on_after(timeout_s):
            await event.wait()


EVENT_TYPES: Final[tuple[BindParameter[Any], ...]] = (
    bindparam("event_key", type_=String(64)),
    bindparam("event_kind", type_=String(64)),
    bindparam("event_payload", type_=Text),
    bindparam("event_traceparent", type_=String(55)),
    bindparam("event_request_id", type_=String(MAX_REQUEST_ID)),
    bindparam("event_created_at", type_=DateTimeUTC(timezone=True)),
)
_INSERT: Final = (
    "INSERT INTO outbox (key, kind, payload, traceparent, request_id, created_at)"
    " SELECT :event_key, :event_kind, :event_payload, :event_traceparent, :event_request_id,"
    " :event_created_at"
)
INSERT_IN_TURN: Final = f"{_INSERT} FROM (SELECT pg_advisory_xact_lock(CAST(:event_turn AS bigint))) AS turn"
"""PostgreSQL: insert under a lock per key. Positions are assigned at the insert but visible after the commit;
without the lock a reader could see the later of two events first and skip the earlier one."""
_ON_POSTGRES: Final = text(INSERT_IN_TURN).bindparams(*EVENT_TYPES)
# SQLite has one writer at a time.
_ON_SQLITE: Final = text(_INSERT).bindparams(*EVENT_TYPES)


def lock_number(name: str) -> int:
    """Return the number of a PostgreSQL advisory lock."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


async def write_last(session: AsyncSession, *, key: str, kind: str, payload: str) -> None:
    """Write an event when its session commits; at once within a savepoint, which may be rolled back.

    Raises:
        UnitOfWorkIsOverError: The response has started.
    """
    carrier: dict[str, str] = {}
    propagator.inject(carrier)
    request_id = get_contextvars().get("request_id")
    event: PendingEvent = {
        "event_key": key,
        "event_kind": kind,
        "event_payload": payload,
        "event_traceparent": carrier.get(TRACEPARENT),
        "event_request_id": None if request_id is None else str(request_id)[:MAX_REQUEST_ID],
        "event_created_at": datetime.now(UTC),
    }
    if is_postgres(session):
        event[_TURN] = lock_number(f"{TABLE}:{key}")
    if session.in_nested_transaction():
        await session.run_sync(_write, event)
        return
    if not session.in_transaction():
        # Without a transaction the commit would do nothing; this checks out no connection yet.
        session.sync_session.begin()
    pending: list[PendingEvent] = session.info.setdefault(_PENDING, [])
    pending.append(event)


async def last_to_write(session: AsyncSession) -> PendingEvent | None:
    """Write all pending events but the last one, and return that for the caller to write."""
    pending = _take_pending(session.sync_session)
    for event in pending[:-1]:
        await session.run_sync(_write, event)
    return pending[-1] if pending else None


@listens_for(RequestSession, "before_commit")
def _write_pending(session: Session) -> None:
    # Also called for savepoints, which an outer savepoint may still roll back.
    if _PENDING in session.info and not session.in_nested_transaction():
        for event in _take_pending(session):
            _write(session, event)


@listens_for(RequestSession, "after_transaction_end")
def _discard_pending(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_PENDING, None)


def _take_pending(session: Session) -> list[PendingEvent]:
    pending: list[PendingEvent] = session.info.pop(_PENDING, [])
    # The sort is stable: events of a key stay in order.
    return sorted(pending, key=lambda event: event["event_key"]) if len(pending) > 1 else pending


def _write(session: Session, event: PendingEvent) -> None:
    session.execute(_ON_POSTGRES if _TURN in event else _ON_SQLITE, event)
