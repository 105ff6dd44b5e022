"""Queue of mail in the database: a request for a mail is written in the transaction that causes it.

A request has an address and no content. The message, with its token, is created when it is sent, so that no
token is stored, and so that the request takes the same time whether or not the address is registered.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, cast, final
from uuid import UUID

import anyio
from advanced_alchemy.base import UUIDv7AuditBase
from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import Column, SmallInteger, String, and_, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from starkeel_db import DatabasePlugin, after_commit, delete_batch

MailKind = Literal["already_registered", "reset_password", "verify_email"]

_COUNTED = timedelta(hours=1)


class MailRequest(UUIDv7AuditBase):
    """A mail that is to be sent or was sent.

    Attributes:
        email_key: Address, in the form of `EmailAddress.key`; registered or not.
        due_at: Time of the next attempt, or end of the current one; `None` when the mail was sent.
    """

    __tablename__ = "mail_requests"

    kind: Mapped[str] = mapped_column(String(32))
    email_key: Mapped[str] = mapped_column(String(254), index=True)
    due_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True), index=True)
    attempts: Mapped[int] = mapped_column(SmallInteger, default=0)


_ID = cast("Column[UUID]", MailRequest.__table__.c.id)


@final
class MailQueue:
    """Adds requests to units of work, and wakes the dispatcher of this process after their commit."""

    def __init__(self) -> None:
        self._is_added = False
        self._event: anyio.Event | None = None

    def add(self, session: AsyncSession, kind: MailKind, email_key: str) -> None:
        """Request a mail; it is sent after the commit of the session, and discarded on a rollback."""
        session.add(MailRequest(kind=kind, email_key=email_key, due_at=datetime.now(UTC)))
        after_commit(session, self._wake)

    async def wait(self, *, timeout_s: float) -> None:
        """Wait until a request is added in this process, or `timeout_s` seconds have passed."""
        if not self._is_added:
            self._event = anyio.Event()
            with anyio.move_on_after(timeout_s):
                await self._event.wait()
        self._is_added = False

    def _wake(self) -> None:
        self._is_added = True
        if self._event is not None:
            self._event.set()


async def claim(session: AsyncSession, *, limit: int, lease: timedelta) -> Sequence[MailRequest]:
    """Return requests that are due; until the end of the lease no other process gets them."""
    now = datetime.now(UTC)
    due = (
        select(MailRequest.id)
        .where(MailRequest.due_at <= now)
        .order_by(MailRequest.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = (await session.scalars(due)).all()
    if not ids:
        return ()
    claimed = update(MailRequest).where(MailRequest.id.in_(ids))
    values: dict[str, Any] = {"due_at": now + lease, "attempts": MailRequest.attempts + 1}
    return (await session.scalars(claimed.values(values).returning(MailRequest))).all()


async def count_earlier(session: AsyncSession, request: MailRequest) -> int:
    """Return the number of mails that were requested for the same address in the hour before a request."""
    earlier = and_(
        MailRequest.email_key == request.email_key,
        MailRequest.created_at > request.created_at - _COUNTED,
        # IDs are in the order of time.
        MailRequest.id < request.id,
    )
    return await session.scalar(select(func.count()).where(earlier)) or 0


async def postpone(session: AsyncSession, request_id: UUID, due_at: datetime | None) -> None:
    """Set the time of the next attempt, or `None` for a mail that was sent."""
    await session.execute(update(MailRequest).where(MailRequest.id == request_id).values(due_at=due_at))


async def discard(session: AsyncSession, request_id: UUID) -> None:
    """Delete a request."""
    await session.execute(delete(MailRequest).where(MailRequest.id == request_id))


async def delete_sent(database: DatabasePlugin) -> int:
    """Delete at most 1000 requests of mails that were sent and count for no limit; return their number."""
    is_old = MailRequest.created_at <= datetime.now(UTC) - 2 * _COUNTED
    async with database.session() as session:
        return await delete_batch(session, _ID, and_(MailRequest.due_at.is_(None), is_old))
