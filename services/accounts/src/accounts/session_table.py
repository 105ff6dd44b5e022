"""Table of sessions, and conditions on its rows."""

from datetime import datetime, timedelta
from uuid import UUID

from advanced_alchemy.base import UUIDAuditBase
from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import ColumnElement, ForeignKey, Index, LargeBinary, String, and_, or_, text
from sqlalchemy.orm import Mapped, mapped_column

CLOCK_TOLERANCE = timedelta(seconds=60)
"""Time after its expiry for which an access token may be accepted by a service whose clock is late."""

_MAX_CLIENT_CHARACTERS = 120
_HAS_ENDED = text("ended_at IS NOT NULL")


class UserSession(UUIDAuditBase):
    """A session of a user; its id is the claim `sid` of its access tokens.

    The id is random, because ids of ended sessions are published.
    """

    __tablename__ = "sessions"
    __table_args__ = (
        Index(
            "ix_sessions_ended_access_expires_at",
            "access_expires_at",
            postgresql_where=_HAS_ENDED,
            sqlite_where=_HAS_ENDED,
        ),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    client: Mapped[str] = mapped_column(String(_MAX_CLIENT_CHARACTERS))
    family_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    previous_token_hash: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    rotation_nonce: Mapped[bytes | None] = mapped_column(LargeBinary(32))
    last_used_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True), index=True)
    access_expires_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    dpop_jkt: Mapped[str | None] = mapped_column(String(43))
    end_reason: Mapped[str | None] = mapped_column(String(32))


def is_live(now: datetime) -> ColumnElement[bool]:
    """Return whether a session has neither ended nor expired."""
    return and_(UserSession.ended_at.is_(None), UserSession.expires_at > now)


def is_revoked(now: datetime) -> ColumnElement[bool]:
    """Return whether a session has ended and may have an access token that has not expired everywhere."""
    is_ended = UserSession.ended_at.is_not(None)
    return and_(is_ended, UserSession.access_expires_at > now - CLOCK_TOLERANCE)


def has_no_valid_token(now: datetime) -> ColumnElement[bool]:
    """Return whether a session has ended or expired, and its access tokens have expired everywhere."""
    latest = now - CLOCK_TOLERANCE
    has_ended = and_(UserSession.ended_at.is_not(None), UserSession.access_expires_at <= latest)
    return or_(has_ended, UserSession.expires_at <= latest)


def client_description(user_agent: str) -> str:
    """Return the printable part of a `User-Agent`, shortened."""
    printable = "".join(character for character in user_agent if character.isprintable())
    return printable.strip()[:_MAX_CLIENT_CHARACTERS]
