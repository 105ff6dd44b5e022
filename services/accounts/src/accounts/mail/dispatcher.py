"""Sends queued mail in the background, at least once, without a database connection while it waits."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Literal, final, get_args

import anyio
import structlog
from starkeel_config import Backoff
from starkeel_db import DatabasePlugin, DatabaseUnavailable
from starkeel_observability import counter

from .queue import MailQueue, MailRequest, claim, discard, postpone
from .transports import MailRefusedError, MailTransport

log = structlog.get_logger(__name__)

GIVE_UP_AFTER = timedelta(hours=24)
"""Time after its request at which a mail is given up."""

_AT_ONCE = 4
_POLL_EVERY_S = 2.0
_DATABASE_S = 10.0
# Greylisting servers accept a mail some minutes after the first attempt.
_BACKOFF = Backoff(base_s=5.0, cap_s=900.0, jitter=0.2)
_OUTAGE_BACKOFF = Backoff(base_s=1.0, cap_s=30.0, jitter=0.5)

Result = Literal["given_up", "limited", "refused", "retried", "sent"]

_MAILS = counter("mails_total", "Attempts to send mail by result.", labels=("result",))
# Series that start at 0: the first event is an increase.
for _result in get_args(Result):
    _MAILS.labels(result=_result)

Prepare = Callable[[MailRequest], Awaitable[EmailMessage | None]]


@final
class MailDispatcher:
    """Sends the mail of a queue.

    A request is claimed in one transaction, its message is created in a second, and its result is recorded
    in a third; a claim whose process has died ends, and the mail is sent again.

    Args:
        database: Database of the queue.
        queue: Requests of this process wake the dispatcher; those of others are found every two seconds.
        prepare: Returns the message of a request, or `None` if there is nothing to send.
        transport: Sends the message.
        timeout_s: Seconds that the transport needs at most.
    """

    def __init__(
        self,
        database: DatabasePlugin,
        queue: MailQueue,
        prepare: Prepare,
        transport: MailTransport,
        *,
        timeout_s: float,
    ) -> None:
        self._database = database
        self._queue = queue
        self._prepare = prepare
        self._transport = transport
        # Longer than an attempt can take, so that a mail is not sent twice at the same time.
        self._lease = timedelta(seconds=timeout_s + 3 * _DATABASE_S)

    async def run(self) -> None:
        """Send mail until cancelled."""
        failures = 0
        while True:
            try:
                with anyio.fail_after(_DATABASE_S, shield=True):
                    requests = await self._claim()
            except Exception as error:
                if not isinstance(error, DatabaseUnavailable):
                    log.exception("mail queue not read")
                failures += 1
                await anyio.sleep(_OUTAGE_BACKOFF.pause_s(failures - 1))
                continue
            failures = 0
            if not requests:
                await self._queue.wait(timeout_s=_POLL_EVERY_S)
                continue
            async with anyio.create_task_group() as tasks:
                for request in requests:
                    tasks.start_soon(self._send, request)

    async def _claim(self) -> list[MailRequest]:
        async with self._database.session() as session:
            return list(await claim(session, limit=_AT_ONCE, lease=self._lease))

    async def _send(self, request: MailRequest) -> None:
        # The lease of a mail whose result is not recorded ends, and it is sent again.
        try:
            with anyio.fail_after(_DATABASE_S):
                message = await self._prepare(request)
            if message is None:
                await self._record(request, is_over=True)
                return
            await self._transport.send(message)
        except MailRefusedError as error:
            log.error("mail refused", kind=request.kind, mail_id=str(request.id), reason=str(error))
            _MAILS.labels(result="refused").inc()
            await self._record(request, is_over=True)
        except Exception as error:  # noqa: BLE001  (the next attempt may succeed)
            await self._retry(request, error)
        else:
            log.info("mail sent", kind=request.kind, mail_id=str(request.id), attempts=request.attempts)
            _MAILS.labels(result="sent").inc()
            await self._record(request, due_at=None)

    async def _retry(self, request: MailRequest, error: Exception) -> None:
        now = datetime.now(UTC)
        # The type only: servers repeat addresses in their replies.
        facts = {"kind": request.kind, "mail_id": str(request.id), "error": type(error).__name__}
        if now - request.created_at >= GIVE_UP_AFTER:
            log.error("mail given up", attempts=request.attempts, **facts)
            _MAILS.labels(result="given_up").inc()
            await self._record(request, is_over=True)
            return
        pause_s = _BACKOFF.pause_s(min(request.attempts, 20) - 1)
        log.warning("mail not sent", retry_s=round(pause_s), **facts)
        _MAILS.labels(result="retried").inc()
        await self._record(request, due_at=now + timedelta(seconds=pause_s))

    async def _record(
        self, request: MailRequest, *, due_at: datetime | None = None, is_over: bool = False
    ) -> None:
        try:
            with anyio.fail_after(_DATABASE_S, shield=True):
                async with self._database.session() as session:
                    if is_over:
                        await discard(session, request.id)
                    else:
                        await postpone(session, request.id, due_at)
        except Exception as error:  # noqa: BLE001  (the lease ends, and the mail is sent again)
            log.warning("result of mail not recorded", mail_id=str(request.id), error=type(error).__name__)


def count_limited() -> None:
    """Count a mail that was not sent because its address has had too many."""
    _MAILS.labels(result="limited").inc()
