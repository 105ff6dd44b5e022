"""Users: the table, and what can be done to one."""

from datetime import UTC, datetime
from uuid import UUID

import structlog
from advanced_alchemy.base import UUIDv7AuditBase
from advanced_alchemy.types import DateTimeUTC
from litestar.exceptions import ClientException, NotAuthorizedException, PermissionDeniedException
from sqlalchemy import String, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column
from starkeel_db import after_commit

from .emails import EmailAddress
from .metrics import USERS_CREATED
from .passwords import Passwords

log = structlog.get_logger(__name__)


class User(UUIDv7AuditBase):
    """One who may sign in."""

    __tablename__ = "users"

    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    deactivated_at: Mapped[datetime | None] = mapped_column(DateTimeUTC(timezone=True))


class EmailTakenException(ClientException):
    """Somebody signed up with this address before."""

    status_code = 409

    def __init__(self) -> None:
        super().__init__("A user with this email address exists.")


class Users:
    """The users, within one unit of work."""

    def __init__(self, session: AsyncSession, passwords: Passwords) -> None:
        self._session = session
        self._passwords = passwords

    async def sign_up(self, email: EmailAddress, password: str) -> User:
        """Add a user.

        Args:
            email: Whose key must be nobody's yet; the database decides, so two at once cannot both succeed.
            password: Accepted and normalised.

        Raises:
            EmailTakenException: The address is somebody's, active or not.
        """
        password_hash = await self._passwords.hash(password)
        user = User(email=email.written, email_key=email.key, password_hash=password_hash)
        self._session.add(user)
        try:
            await self._session.flush()
        except IntegrityError as error:
            raise EmailTakenException from error
        user_id = user.id

        def report() -> None:
            USERS_CREATED.inc()
            log.info("user created", user_id=str(user_id), email=email.written)

        after_commit(self._session, report)
        return user

    async def active(self, user_id: UUID) -> User:
        """Return the user a token was issued to.

        Raises:
            NotAuthorizedException: There is no such user; the token is from another database.
            PermissionDeniedException: There was, and they left.
        """
        user = await self._session.get(User, user_id)
        if user is None:
            raise NotAuthorizedException("The token's user does not exist.")
        if user.deactivated_at is not None:
            raise PermissionDeniedException("This user has been deactivated.")
        return user

    async def signed_in(self, email: EmailAddress | None, password: str) -> UUID | None:
        """Return who this is, or None; in the same time whatever is wrong.

        Args:
            email: None when it was no address at all, which costs what an unknown one does.
            password: As given.
        """
        user = None
        if email is not None:
            user = await self._session.scalar(select(User).where(User.email_key == email.key))
        # A hash takes long beside a query: nobody keeps a database connection meanwhile.
        await self._session.close()
        verdict = await self._passwords.verify(password, user.password_hash if user else None)
        if user is None or not verdict.is_right or user.deactivated_at is not None:
            return None
        if verdict.needs_rehash:
            await self._replace_hash(user, password)
        return user.id

    async def change_password(self, user: User, *, current: str, new: str) -> None:
        """Set another password.

        Args:
            user: Whose.
            current: As given; must be right.
            new: Accepted and normalised.

        Raises:
            PermissionDeniedException: The current password is wrong.
        """
        await self._confirm(user, current)
        user.password_hash = await self._passwords.hash(new)
        user_id = str(user.id)
        after_commit(self._session, lambda: log.info("password changed", user_id=user_id))

    async def deactivate(self, user: User, *, password: str) -> None:
        """End the user's account; the address stays taken.

        Raises:
            PermissionDeniedException: The password is wrong.
        """
        await self._confirm(user, password)
        user.deactivated_at = datetime.now(UTC)
        user_id = str(user.id)
        after_commit(self._session, lambda: log.info("user deactivated", user_id=user_id))

    async def _confirm(self, user: User, password: str) -> None:
        verdict = await self._passwords.verify(password, user.password_hash)
        if not verdict.is_right:
            raise PermissionDeniedException("The password is wrong.")

    async def _replace_hash(self, user: User, password: str) -> None:
        # Only if it is still the one that was verified: a change of password meanwhile wins.
        await self._session.execute(
            update(User)
            .where(User.id == user.id, User.password_hash == user.password_hash)
            .values(password_hash=await self._passwords.hash(password))
        )
