"""One-time tokens for a purpose: random, stored as hashes, bound to the state of the user."""

import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, cast
from uuid import UUID

from advanced_alchemy.base import UUIDAuditBase
from advanced_alchemy.types import DateTimeUTC
from sqlalchemy import Column, ForeignKey, LargeBinary, String, UniqueConstraint, delete
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from starkeel_db import delete_batch

Purpose = Literal["reset_password", "verify_email"]

_TOKEN_BYTES = 32


class OneTimeToken(UUIDAuditBase):
    """The last token of a user for a purpose; a newer one replaces it.

    Attributes:
        state: Hash of the address and the password hash; if one of them changes, the token is useless.
    """

    __tablename__ = "one_time_tokens"
    __table_args__ = (UniqueConstraint("user_id", "purpose", name="uq_one_time_tokens_user_id_purpose"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    purpose: Mapped[str] = mapped_column(String(32))
    token_hash: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    state: Mapped[bytes] = mapped_column(LargeBinary(32))
    expires_at: Mapped[datetime] = mapped_column(DateTimeUTC(timezone=True), index=True)


_ID = cast("Column[UUID]", OneTimeToken.__table__.c.id)


async def issue(
    session: AsyncSession, user_id: UUID, purpose: Purpose, *, state: bytes, lifetime: timedelta
) -> str:
    """Replace the token of a user, whose row is locked, and return the new one."""
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    is_older = (OneTimeToken.user_id == user_id, OneTimeToken.purpose == purpose)
    await session.execute(delete(OneTimeToken).where(*is_older))
    session.add(
        OneTimeToken(
            user_id=user_id,
            purpose=purpose,
            token_hash=_hash(token),
            state=state,
            expires_at=datetime.now(UTC) + lifetime,
        )
    )
    await session.flush()
    return token


def is_valid(token: str, purpose: Purpose) -> tuple[Any, ...]:
    """Return the conditions on the row of a token that has not expired."""
    return (
        OneTimeToken.token_hash == _hash(token),
        OneTimeToken.purpose == purpose,
        OneTimeToken.expires_at > datetime.now(UTC),
    )


async def use(session: AsyncSession, token: str, purpose: Purpose) -> bool:
    """Delete a token; return False if another request has used it or it has expired."""
    used = delete(OneTimeToken).where(*is_valid(token, purpose)).returning(OneTimeToken.id)
    return await session.scalar(used) is not None


def state_of(email_key: str, password_hash: str) -> bytes:
    """Return the hash of what a token is bound to."""
    return sha256(f"{email_key}\0{password_hash}".encode()).digest()


async def delete_expired(session: AsyncSession) -> int:
    """Delete at most 1000 expired tokens and return their number."""
    return await delete_batch(session, _ID, OneTimeToken.expires_at <= datetime.now(UTC))


def _hash(token: str) -> bytes:
    # Tokens are random: a slow hash, as for passwords, protects nothing more.
    return sha256(token.encode("utf-8", "replace")).digest()
