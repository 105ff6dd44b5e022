"""Mail as jobs: a request in the unit of work that causes it, and the message when it is sent.

A request has an address and no content. The message, with its token, is created when it is sent, so that no
token is stored, and so that the request takes the same time whether or not the address is registered.
"""

from collections.abc import Callable
from datetime import timedelta
from email.message import EmailMessage
from typing import Final, Literal, cast, final, get_args
from uuid import UUID, uuid4

import structlog
from litestar.exceptions import HTTPException
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_config import Backoff
from starkeel_jobs import JobContext, JobsPlugin, job, schedule
from starkeel_mail import MailNotSentError, MailRefusedError, MailSettings, transport
from starkeel_observability import counter

from .emails import EmailAddress
from .mail_requests import take_abandoned
from .mail_settings import MailFlowSettings
from .mail_texts import MailKind, message
from .one_time_tokens import Purpose, issue, state_of
from .security_events import SecurityEvents
from .sent_mails import count_mail
from .users import User

log = structlog.get_logger(__name__)

_DATABASE_S: Final = 30.0
# Greylisting servers accept a mail some minutes after the first attempt.
_BACKOFF: Final = Backoff(base_s=5.0, cap_s=900.0, jitter=0.2)
_ATTEMPTS: Final = 114
"""Attempts within about 24 hours."""

Result = Literal["given_up", "limited", "refused", "retried", "sent"]

_MAILS = counter("mails_total", "Attempts to send mail by result.", labels=("result",))
# Series that start at 0: the first event is an increase.
for _result in get_args(Result):
    _MAILS.labels(result=_result)


class MailIsOffError(HTTPException):
    """The service sends no mail."""

    status_code = 503
    detail = "This service sends no mail; its operator must configure it (MAIL_TRANSPORT)."


@final
class MailSender:
    """Sends requested mail.

    Attributes:
        job: The job of one mail.
    """

    def __init__(self, settings: MailSettings, flows: MailFlowSettings, events: SecurityEvents) -> None:
        self._settings = settings
        self._flows = flows
        self._events = events
        self._destination = transport(settings)
        define = job(
            name="send_mail",
            attempts=_ATTEMPTS,
            timeout_s=settings.smtp_timeout_s + _DATABASE_S,
            backoff=_BACKOFF,
        )
        self.job = define(self._send)

    async def _send(self, context: JobContext, *, kind: MailKind, email_key: str, mail_id: UUID) -> None:
        name = str(mail_id)
        if self._destination is None:
            log.warning("mail discarded", kind=kind, mail_id=name, reason="MAIL_TRANSPORT is off")
            return
        mail = await self._message(context.session, kind, email_key, mail_id)
        # The token is valid when it arrives, and no connection is held while the server is waited for.
        await context.session.commit()
        if mail is None:
            return
        try:
            await self._destination.send(mail)
        except MailRefusedError as error:
            # The job is done: another attempt would be refused as well.
            log.error("mail refused", kind=kind, mail_id=name, reason=str(error))
            _MAILS.labels(result="refused").inc()
        except MailNotSentError as error:
            # The job has the number of the attempt, retries, and logs the pause.
            if context.attempt >= _ATTEMPTS:
                log.error("mail given up", kind=kind, mail_id=name, reason=str(error))
                _MAILS.labels(result="given_up").inc()
            else:
                log.warning("mail not sent", kind=kind, mail_id=name, reason=str(error))
                _MAILS.labels(result="retried").inc()
            raise
        else:
            log.info("mail sent", kind=kind, mail_id=name)
            _MAILS.labels(result="sent").inc()

    async def _message(
        self, session: AsyncSession, kind: MailKind, email_key: str, mail_id: UUID
    ) -> EmailMessage | None:
        user = await session.scalar(select(User).where(User.email_key == email_key).with_for_update())
        if user is None or not _concerns(user, kind):
            return None
        if not await count_mail(session, mail_id, user.id, per_hour=self._flows.per_hour):
            _MAILS.labels(result="limited").inc()
            self._events.log("mail_limited", "mail limited", email=user.email_key, kind=kind)
            return None
        token = None if kind == "already_registered" else await self._token(session, user, kind)
        return message(self._settings, self._flows, kind, recipient=user.email, mail_id=mail_id, token=token)

    async def _token(self, session: AsyncSession, user: User, purpose: Purpose) -> str:
        hours, minutes = self._flows.verification_hours, self._flows.reset_minutes
        lifetime = timedelta(hours=hours) if purpose == "verify_email" else timedelta(minutes=minutes)
        state = state_of(user.email_key, user.password_hash)
        return await issue(session, user.id, purpose, state=state, lifetime=lifetime)


@final
class MailRequests:
    """Requests for mail to an address, registered or not.

    Each is one job in the unit of work: response and duration depend on nothing that is known of the address.

    Args:
        settings: Whether the service sends mail.
        sender: Sends it.
        jobs: Returns the plugin of the application.
    """

    def __init__(self, settings: MailSettings, sender: MailSender, jobs: Callable[[], JobsPlugin]) -> None:
        self._is_on = settings.transport != "off"
        self._sender = sender
        self._jobs = jobs
        # For those that the version before has not sent.
        self.adoption = schedule("*/5 * * * *", name="adopt_mail_requests")(self._adopt)

    async def add(self, session: AsyncSession, kind: MailKind, email: EmailAddress) -> None:
        """Request a mail; it is sent after the commit.

        Raises:
            MailIsOffError: The service sends no mail.
        """
        if not self._is_on:
            raise MailIsOffError
        await self._enqueue(session, kind, email.key, uuid4())

    async def add_if_on(self, session: AsyncSession, kind: MailKind, email: EmailAddress) -> None:
        """Request a mail, unless the service sends none."""
        if self._is_on:
            await self._enqueue(session, kind, email.key, uuid4())

    async def _adopt(self, context: JobContext) -> None:
        if not self._is_on:
            return
        for request in await take_abandoned(context.session):
            kind = cast("MailKind", request.kind)
            await self._enqueue(context.session, kind, request.email_key, request.id)

    async def _enqueue(self, session: AsyncSession, kind: MailKind, email_key: str, mail_id: UUID) -> None:
        await self._jobs().enqueue(session, self._sender.job, kind=kind, email_key=email_key, mail_id=mail_id)


def _concerns(user: User, kind: MailKind) -> bool:
    """Return whether a mail of a kind is sent to a user."""
    if kind == "already_registered":
        return True
    return user.deactivated_at is None and (kind == "reset_password" or user.email_verified_at is None)
