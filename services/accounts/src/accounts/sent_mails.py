"""Number of mails to a user in the last hour."""

from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

from advanced_alchemy.base import UUIDAuditBase
from sqlalchemy import Column, ForeignKey, Index, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from starkeel_db import delete_batch

_COUNTED = timedelta(hours=1)


class SentMail(UUIDAuditBase):
    """A mail that was sent to a user, or is being sent; its id is that of the request for it."""

    __tablename__ = "sent_mails"
    __table_args__ = (Index("ix_sent_mails_user_id_created_at", "user_id", "created_at"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))


_ID = cast("Column[UUID]", SentMail.__table__.c.id)


async def count_mail(session: AsyncSession, mail_id: UUID, user_id: UUID, *, per_hour: int) -> bool:
    """Count a mail to a user, whose row is locked; return False if the last hour has had too many.

    A further attempt to send a mail is not counted again.
    """
    if await session.get(SentMail, mail_id) is not None:
        return True
    is_counted = (SentMail.user_id == user_id, SentMail.created_at > datetime.now(UTC) - _COUNTED)
    if (await session.scalar(select(func.count()).where(*is_counted)) or 0) >= per_hour:
        return False
    session.add(SentMail(id=mail_id, user_id=user_id))
    await session.flush()
    return True


async def delete_counted(session: AsyncSession) -> int:
    """Delete at most 1000 mails that count for no limit, and return their number."""
    return await delete_batch(session, _ID, SentMail.created_at <= datetime.now(UTC) - _COUNTED)
