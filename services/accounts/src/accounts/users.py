"""Users: table and operations."""

from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

import structlog
from advanced_alchemy.base import UUIDv7AuditBase
from advanced_alchemy.types import DateTimeUTC
from litestar.exceptions import ClientException, NotAuthorizedException, PermissionDeniedException
from sqlalchemy import String, and_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from starkeel_db import after_commit
from starkeel_messaging import MessagingPlugin
from starkeel_observability import counter

from .emails import EmailAddress
from .passwords import PasswordHashing
from .security_events import SecurityEvent, SecurityEvents
from .session_table import UserSession
from .user_events import USER_CREATED, USER_DEACTIVATED, UserCreated, UserDeactivated

log = structlog.get_logger(__name__)

_USERS_CREATED = counter("users_created_total", "Users created.")


class User(UUIDv7AuditBase):
    """A registered user."""

    __tablename__ = "users"

    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    deactivated_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))
    email_verified_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))


class AddressTakenError(ClientException):
    """The email address belongs to a user; 409 if it is not handled."""


class Users:
    """Operations on users within one unit of work.

    Those that the password must confirm raise `PermissionDeniedException` if it is wrong.
    """

    def __init__(
        self,
        session: AsyncSession,
        hashing: PasswordHashing,
        events: SecurityEvents,
        messaging: MessagingPlugin,
    ) -> None:
        self._session = session
        self._hashing = hashing
        self._events = events
        self._messaging = messaging

    async def sign_up(self, email: EmailAddress, password: str) -> User:
        """Create a user, and publish `user.created`; the password is validated and normalised.

        Raises:
            AddressTakenError: The address belongs to a user, active or not.
        """
        password_hash = await self._hashing.hash(password)
        user = User(email=email.written, email_key=email.key, password_hash=password_hash)
        self._session.add(user)
        try:
            # The key is unique in the database, so of concurrent requests only one succeeds.
            await self._session.flush()
        except IntegrityError as error:
            # The unit of work stays usable for a response that does not reveal this.
            await self._session.rollback()
            self._events.log("sign_up_refused", "sign-up refused", email=email.key)
            raise AddressTakenError("A user with this email address exists.", status_code=409) from error
        await self._messaging.publish(self._session, USER_CREATED, UserCreated(user.id), key=str(user.id))
        after_commit(self._session, _USERS_CREATED.inc)
        user_id = str(user.id)
        after_commit(self._session, lambda: log.info("user created", user_id=user_id, email=email.written))
        return user

    async def get_active(self, subject: str, session_id: str | None = None) -> User:
        """Return the user of an access token.

        Args:
            subject: Claim `sub`.
            session_id: Claim `sid`, which tokens of users have had since there are sessions.

        Raises:
            NotAuthorizedException: The session has ended, or the user does not exist; the token is from
                another database.
            PermissionDeniedException: The user has been deactivated, or the subject is not a user.
        """
        try:
            user_id = UUID(subject)
        except ValueError as error:
            raise PermissionDeniedException("The token was not issued to a user.") from error
        is_session = and_(
            UserSession.id == _uuid(session_id),
            UserSession.user_id == User.id,
            UserSession.ended_at.is_(None),
        )
        found = (
            await self._session.execute(
                select(User, UserSession.id).outerjoin(UserSession, is_session).where(User.id == user_id)
            )
        ).one_or_none()
        if found is None:
            raise _invalid_token("the token's user does not exist")
        user, live_session = found
        if user.deactivated_at is not None:
            raise PermissionDeniedException("This user has been deactivated.")
        if session_id is not None and live_session is None:
            raise _invalid_token("the session has ended")
        return user

    async def authenticate(self, email: EmailAddress | None, password: str) -> User | None:
        """Return an active user, or `None`, after the same time for any wrong credentials.

        The row of the user is locked until the end of the unit of work: a session that is started there
        cannot be missed by a concurrent change of the password or deactivation, which ends all sessions.

        Args:
            email: `None` for an invalid address, which is handled like an unknown one.
            password: As received.
        """
        while True:
            user = None
            if email is not None:
                user = await self._session.scalar(select(User).where(User.email_key == email.key))
            # Hashing takes much longer than a query: return the connection to the pool meanwhile.
            await self._session.close()
            is_valid = await self._hashing.verify(password, user.password_hash if user else None)
            if user is None or not is_valid or user.deactivated_at is not None:
                return None
            if await self._lock_verified(user, password):
                return user
            # The hash or the user has been changed meanwhile: verify the new one.

    async def _lock_verified(self, user: User, password: str) -> bool:
        """Lock an active user that still has the verified hash; replace a hash with old parameters."""
        is_unchanged = (
            User.id == user.id,
            User.password_hash == user.password_hash,
            User.deactivated_at.is_(None),
        )
        if self._hashing.needs_rehash(user.password_hash):
            new_hash = await self._hashing.hash(password)
            rehash = update(User).where(*is_unchanged).values(password_hash=new_hash).returning(User.id)
            return await self._session.scalar(rehash) is not None
        lock = select(User.id).where(*is_unchanged).with_for_update(read=True)
        return await self._session.scalar(lock) is not None

    async def change_password(self, user: User, *, current: str, new: str) -> None:
        """Set a new password, which is validated and normalised."""
        await self._confirm(user, current)
        await self._update_confirmed(user, password_hash=await self._hashing.hash(new))
        self._after_commit("password_changed", "password changed", user)

    async def deactivate(self, user: User, *, password: str) -> None:
        """Deactivate a user, and publish `user.deactivated`; the email address stays reserved."""
        await self._confirm(user, password)
        await self._update_confirmed(user, deactivated_at=datetime.now(UTC))
        event = UserDeactivated(user.id)
        await self._messaging.publish(self._session, USER_DEACTIVATED, event, key=str(user.id))
        self._after_commit("deactivated", "user deactivated", user)

    async def _confirm(self, user: User, password: str) -> None:
        # Hashing takes much longer than a query: return the connection to the pool meanwhile.
        await self._session.close()
        if not await self._hashing.verify(password, user.password_hash):
            self._events.log(
                "password_refused", "password refused", email=user.email_key, user_id=str(user.id)
            )
            raise PermissionDeniedException("The password is wrong.")

    async def _update_confirmed(self, user: User, **values: str | datetime) -> None:
        """Change a user, unless the confirmed password has been replaced."""
        is_unchanged = (User.id == user.id, User.password_hash == user.password_hash)
        changed = await self._session.scalar(
            update(User)
            .where(*is_unchanged, User.deactivated_at.is_(None))
            .values(**values)
            .returning(User.id)
        )
        if changed is None:
            raise PermissionDeniedException("The password is wrong.")

    def _after_commit(self, event: SecurityEvent, message: str, user: User) -> None:
        user_id, email = str(user.id), user.email_key
        after_commit(self._session, lambda: self._events.log(event, message, email=email, user_id=user_id))


def _uuid(text: str | None) -> UUID | None:
    with suppress(ValueError):
        return None if text is None else UUID(text)
    return None


def _invalid_token(reason: str) -> NotAuthorizedException:
    """Return a challenge (RFC 6750, 3.1)."""
    challenge = f'Bearer error="invalid_token", error_description="{reason}"'
    return NotAuthorizedException(
        f"{reason[0].upper()}{reason[1:]}.", headers={"WWW-Authenticate": challenge}
    )
