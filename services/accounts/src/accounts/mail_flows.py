"""Verification of email addresses, and password resets, with tokens that are sent by mail."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import cast, final

import anyio
import structlog
from litestar import Litestar
from litestar.exceptions import HTTPException
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import DatabasePlugin, after_commit, deleting

from .emails import EmailAddress
from .mail.dispatcher import MailDispatcher, count_limited
from .mail.queue import MailKind, MailQueue, MailRequest, count_earlier, delete_sent
from .mail.settings import MailSettings
from .mail.transports import transport
from .mail_texts import message
from .one_time_tokens import OneTimeToken, Purpose, delete_expired, is_valid, issue, state_of, use
from .passwords import PasswordHashing
from .security_events import SecurityEvent, SecurityEvents, count
from .users import User

log = structlog.get_logger(__name__)


class MailIsOffError(HTTPException):
    """The service sends no mail."""

    status_code = 503
    detail = "This service sends no mail; its operator must configure it (MAIL_TRANSPORT)."


class TokenNotAcceptedError(ValueError):
    """The one-time token is unknown, was used or replaced, or has expired."""

    def __init__(self) -> None:
        super().__init__(
            "is not accepted: it is unknown, was used or replaced, or has expired; request a new mail"
        )


@final
class MailRequests:
    """Requests for mail to an address, registered or not.

    Each is one row in the unit of work: response and duration depend on nothing that is known of the address.
    """

    def __init__(self, settings: MailSettings, queue: MailQueue) -> None:
        self._is_on = settings.transport != "off"
        self._queue = queue

    def add(self, session: AsyncSession, kind: MailKind, email: EmailAddress) -> None:
        """Request a mail; it is sent after the commit.

        Raises:
            MailIsOffError: The service sends no mail.
        """
        if not self._is_on:
            raise MailIsOffError
        self._queue.add(session, kind, email.key)

    def add_if_on(self, session: AsyncSession, kind: MailKind, email: EmailAddress) -> None:
        """Request a mail, unless the service sends none."""
        if self._is_on:
            self._queue.add(session, kind, email.key)


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


@final
class MailSending:
    """Lifespan that sends queued mail, and deletes old requests and tokens."""

    def __init__(self, settings: MailSettings, queue: MailQueue, events: SecurityEvents) -> None:
        self._settings = settings
        self._queue = queue
        self._events = events

    @asynccontextmanager
    async def __call__(self, app: Litestar) -> AsyncGenerator[None]:
        """Send mail while the application runs."""
        destination = transport(self._settings)
        if destination is None:
            yield
            return
        database = app.plugins.get(DatabasePlugin)
        dispatcher = MailDispatcher(
            database,
            self._queue,
            lambda request: self._message(database, request),
            destination,
            timeout_s=self._settings.smtp_timeout_s,
        )
        async with (
            deleting(lambda: delete_sent(database), "mail requests"),
            deleting(lambda: delete_expired(database), "one-time tokens"),
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(dispatcher.run)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    async def _message(self, database: DatabasePlugin, request: MailRequest) -> EmailMessage | None:
        kind = cast("MailKind", request.kind)
        async with database.session() as session:
            found = select(User).where(User.email_key == request.email_key).with_for_update()
            user = await session.scalar(found)
            if user is None or not _concerns(user, kind):
                return None
            if await count_earlier(session, request) >= self._settings.per_hour:
                count_limited()
                self._events.log("mail_limited", "mail limited", email=user.email_key, kind=kind)
                return None
            token = None if kind == "already_registered" else await self._token(session, user, kind)
        return message(self._settings, kind, recipient=user.email, request_id=request.id, token=token)

    async def _token(self, session: AsyncSession, user: User, purpose: Purpose) -> str:
        hours, minutes = self._settings.verification_hours, self._settings.reset_minutes
        lifetime = timedelta(hours=hours) if purpose == "verify_email" else timedelta(minutes=minutes)
        state = state_of(user.email_key, user.password_hash)
        return await issue(session, user.id, purpose, state=state, lifetime=lifetime)


def _refused(purpose: Purpose) -> TokenNotAcceptedError:
    count("one_time_token_refused")
    log.info("one-time token refused", event_kind="one_time_token_refused", purpose=purpose)
    return TokenNotAcceptedError()


def _concerns(user: User, kind: MailKind) -> bool:
    """Return whether a mail of a kind is sent to a user."""
    if kind == "already_registered":
        return True
    return user.deactivated_at is None and (kind == "reset_password" or user.email_verified_at is None)
