"""Verification of email addresses, and password resets, with tokens that are sent by mail."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import final

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import after_commit

from .one_time_tokens import OneTimeToken, Purpose, is_valid, state_of, use
from .passwords import PasswordHashing
from .security_events import SecurityEvent, SecurityEvents, count
from .users import User

log = structlog.get_logger(__name__)


class TokenNotAcceptedError(ValueError):
    """The one-time token is unknown, was used or replaced, or has expired."""

    def __init__(self) -> None:
        super().__init__(
            "is not accepted: it is unknown, was used or replaced, or has expired; request a new mail"
        )


@final
class MailFlows:
    """Uses of one-time tokens within one unit of work."""

    def __init__(self, session: AsyncSession, hashing: PasswordHashing, events: SecurityEvents) -> None:
        self._session = session
        self._hashing = hashing
        self._events = events

    async def verify_email(self, token: str) -> None:
        """Mark the address of a token's user as verified.

        Raises:
            TokenNotAcceptedError: The token is not accepted.
        """
        user = await self._user_of(token, "verify_email")
        await self._finish(user, token, "verify_email")
        self._after_commit("email_verified", "email verified", user)

    async def reset_password(self, token: str, validate: Callable[[str], str]) -> User:
        """Set a new password for a token's user, whose address is then verified as well.

        The sessions of the user must be ended in the same unit of work.

        Args:
            token: As received; it stays valid if the password is rejected.
            validate: Returns the new password, given the user's address.

        Raises:
            TokenNotAcceptedError: The token is not accepted.
        """
        user = await self._user_of(token, "reset_password")
        # Hashing takes much longer than a query: return the connection to the pool meanwhile.
        await self._session.close()
        new_hash = await self._hashing.hash(validate(user.email))
        await self._finish(user, token, "reset_password", password_hash=new_hash)
        self._after_commit("password_reset", "password reset", user)
        return user

    async def _user_of(self, token: str, purpose: Purpose) -> User:
        """Return the active user of a token; nothing about them has changed since it was issued."""
        found = (
            await self._session.execute(
                select(User, OneTimeToken.state)
                .join(OneTimeToken, OneTimeToken.user_id == User.id)
                .where(*is_valid(token, purpose), User.deactivated_at.is_(None))
            )
        ).one_or_none()
        if found is None:
            raise _refused(purpose)
        user, state = found
        if state != state_of(user.email_key, user.password_hash):
            raise _refused(purpose)
        return user

    async def _finish(self, user: User, token: str, purpose: Purpose, **values: str) -> None:
        """Change a user and use the token, in one transaction; the row of the user is locked first."""
        is_unchanged = (
            User.id == user.id,
            User.password_hash == user.password_hash,
            User.deactivated_at.is_(None),
        )
        verified_at = func.coalesce(User.email_verified_at, datetime.now(UTC))
        changed = update(User).where(*is_unchanged).values(email_verified_at=verified_at, **values)
        is_changed = await self._session.scalar(changed.returning(User.id)) is not None
        if not is_changed or not await use(self._session, token, purpose):
            raise _refused(purpose)

    def _after_commit(self, event: SecurityEvent, text: str, user: User) -> None:
        user_id, email = str(user.id), user.email_key
        after_commit(self._session, lambda: self._events.log(event, text, email=email, user_id=user_id))


def _refused(purpose: Purpose) -> TokenNotAcceptedError:
    count("one_time_token_refused")
    log.info("one-time token refused", event_kind="one_time_token_refused", purpose=purpose)
    return TokenNotAcceptedError()
