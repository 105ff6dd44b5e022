"""Events on their way into the outbox: kept by their session, and written last of all when it commits.

Whoever writes an event of a key holds off others who write one of it until the commit. Written last, that is
for a moment; and in the order of their keys, no two wait for one another.
"""

from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import BindParameter, String, Text, bindparam, text
from sqlalchemy.event import listens_for
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

from .._session.session import RequestSession
from .table import TABLE, is_postgres, lock_number

_PENDING: Final = "starkeel_events"


class PendingEvent(NamedTuple):
    """An event that has no position yet."""

    key: str
    kind: str
    payload: str
    traceparent: str | None


EVENT_TYPES: Final[tuple[BindParameter[Any], ...]] = (
    bindparam("event_key", type_=String(64)),
    bindparam("event_kind", type_=String(64)),
    bindparam("event_payload", type_=Text),
    bindparam("event_traceparent", type_=String(55)),
    bindparam("event_created_at", type_=DateTimeUTC(timezone=True)),
)
_INSERT: Final = (
    "INSERT INTO outbox (key, kind, payload, traceparent, created_at)"
    " SELECT :event_key, :event_kind, :event_payload, :event_traceparent, :event_created_at"
)
INSERT_IN_TURN: Final = f"{_INSERT} FROM (SELECT pg_advisory_xact_lock(CAST(:event_turn AS bigint))) AS turn"
"""Of PostgreSQL. Positions are given when a row is written and seen when it is committed: without a turn for
each key, a reader could see the later of two first and take the earlier for read."""
_OF_POSTGRES: Final = text(INSERT_IN_TURN).bindparams(*EVENT_TYPES)
# Whoever writes has the file to itself until the commit.
_OF_SQLITE: Final = text(_INSERT).bindparams(*EVENT_TYPES)


async def write_last(session: AsyncSession, event: PendingEvent) -> None:
    """Have an event written when its session commits; within a savepoint, which may be undone, at once.

    Raises:
        UnitOfWorkIsOverError: It has committed.
    """
    session.get_bind()
    if session.in_nested_transaction():
        await session.run_sync(_write, event)
        return
    if not session.in_transaction():
        # Takes no connection yet; without a transaction there would be nothing to commit.
        session.sync_session.begin()
    pending: list[PendingEvent] = session.info.setdefault(_PENDING, [])
    pending.append(event)


async def last_to_write(session: AsyncSession) -> PendingEvent | None:
    """Write a session's events but for one, which the caller writes with something else; None without any."""
    pending = _taken(session.sync_session)
    for event in pending[:-1]:
        await session.run_sync(_write, event)
    return pending[-1] if pending else None


def event_parameters(event: PendingEvent) -> dict[str, Any]:
    """Return the values of `INSERT_IN_TURN`."""
    return _values(event) | {"event_turn": lock_number(f"{TABLE}:{event.key}")}


@listens_for(RequestSession, "before_commit")
def _write_pending(session: Session) -> None:
    # It is told of savepoints, too, which others may enclose that are undone.
    if _PENDING in session.info and not session.in_nested_transaction():
        for event in _taken(session):
            _write(session, event)


@listens_for(RequestSession, "after_transaction_end")
def _forget_pending(session: Session, transaction: SessionTransaction) -> None:
    if transaction.parent is None:
        session.info.pop(_PENDING, None)


def _taken(session: Session) -> list[PendingEvent]:
    pending: list[PendingEvent] = session.info.pop(_PENDING, [])
    # Those of a key stay in their order.
    return sorted(pending, key=lambda one: one.key) if len(pending) > 1 else pending


def _write(session: Session, event: PendingEvent) -> None:
    if is_postgres(session):
        session.execute(_OF_POSTGRES, event_parameters(event))
    else:
        session.execute(_OF_SQLITE, _values(event))


def _values(event: PendingEvent) -> dict[str, Any]:
    return {
        "event_key": event.key,
        "event_kind": event.kind,
        "event_payload": event.payload,
        "event_traceparent": event.traceparent,
        "event_created_at": datetime.now(UTC),
    }
