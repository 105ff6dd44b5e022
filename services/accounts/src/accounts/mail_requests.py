"""Table of the requests for mail of the previous version, which has no jobs.

Its processes may still run while this version starts; they write and send their requests themselves. The next
release drops the table.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

from advanced_alchemy.base import UUIDv7AuditBase
from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import Column, SmallInteger, String, and_, delete
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from starkeel_db import delete_batch

_ABANDONED = timedelta(minutes=1)
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


async def take_abandoned(session: AsyncSession) -> Sequence[MailRequest]:
    """Delete and return requests that are overdue because no process of the previous version is left."""
    is_abandoned = MailRequest.due_at <= datetime.now(UTC) - _ABANDONED
    return (await session.scalars(delete(MailRequest).where(is_abandoned).returning(MailRequest))).all()


async def delete_sent(session: AsyncSession) -> int:
    """Delete at most 1000 requests of mails that were sent and count for no limit; return their number."""
    is_old = MailRequest.created_at <= datetime.now(UTC) - 2 * _COUNTED
    return await delete_batch(session, _ID, and_(MailRequest.due_at.is_(None), is_old))
