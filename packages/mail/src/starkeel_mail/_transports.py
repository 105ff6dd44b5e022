"""Transports of mail: an SMTP server, or a directory in development."""

import os
import secrets
import ssl
from contextlib import suppress
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol, final

import anyio
from anyio import to_thread

from ._settings import MailSettings

_PERMANENT = 500
_QUIT_S = 2.0


class MailRefusedError(Exception):
    """The recipient or the content is refused permanently; another attempt would be refused as well."""


class MailNotSentError(Exception):
    """The mail could not be sent; another attempt may succeed.

    Its text contains no address, unlike those of the libraries, which repeat the replies of the server.
    """


class MailTransport(Protocol):
    """Destination of mail."""

    async def send(self, message: EmailMessage) -> None:
        """Send a message; when this returns, the destination has accepted it.

        Raises:
            MailRefusedError: It is refused permanently.
            MailNotSentError: Any other failure, after which it may be sent again; it may have been accepted.
        """


@final
class SmtpTransport:
    """Sends each message over a connection of its own to an SMTP server."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        self._context: ssl.SSLContext | None = None

    async def send(self, message: EmailMessage) -> None:
        """Send a message within `SMTP_TIMEOUT_SECONDS`.

        Raises:
            MailRefusedError: The server has refused the recipient or the content with a status of 5xx.
            MailNotSentError: The server is unreachable or too slow, or has refused the connection, the sender
                or the credentials, or anything for the moment; a slow one may have accepted the message.
        """
        # Imported here, as most processes send no mail when they start.
        from aiosmtplib import SMTPDataError, SMTPException, SMTPRecipientsRefused

        try:
            await self._send(message)
        except SMTPRecipientsRefused as error:
            codes = [recipient.code for recipient in error.recipients]
            if min(codes) >= _PERMANENT:
                raise MailRefusedError(f"the recipient is refused with status {codes[0]}") from None
            raise MailNotSentError(f"the recipient is refused for now with status {codes[0]}") from None
        except SMTPDataError as error:
            if error.code >= _PERMANENT:
                raise MailRefusedError(f"the content is refused with status {error.code}") from None
            raise MailNotSentError(f"the content is refused for now with status {error.code}") from None
        except (SMTPException, OSError) as error:
            raise MailNotSentError(_described(error)) from None

    async def _send(self, message: EmailMessage) -> None:
        from aiosmtplib import SMTP, SMTPException

        settings = self._settings
        password = settings.smtp_password
        client = SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_username,
            password=None if password is None else password.reveal(),
            timeout=settings.smtp_timeout_s,
            use_tls=settings.smtp_tls == "tls",
            start_tls=settings.smtp_tls == "starttls",
            tls_context=await self._tls_context(),
        )
        # Not by `async with`, which would wait for the reply to QUIT when it is cancelled.
        try:
            with anyio.fail_after(settings.smtp_timeout_s):
                await client.connect()
                await client.send_message(message)
            # The message is accepted, whatever follows.
            with suppress(SMTPException, OSError):
                await client.quit(timeout=_QUIT_S)
        finally:
            client.close()

    async def _tls_context(self) -> ssl.SSLContext | None:
        if self._settings.smtp_tls != "off" and self._context is None:
            file = self._settings.smtp_ca_file
            # Reading the authorities of the system takes many milliseconds.
            self._context = await to_thread.run_sync(
                lambda: ssl.create_default_context(cafile=None if file is None else str(file))
            )
            # `SSLKEYLOGFILE` of the environment would write the keys of the connections to a file.
            self._context.keylog_filename = None  # type: ignore[assignment]  # typeshed has no None, which disables it
        return self._context


@final
class FileTransport:
    """Writes each message to a file of a directory, for development."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def send(self, message: EmailMessage) -> None:
        """Write a message to a new file, readable only by its owner.

        Raises:
            MailNotSentError: The file cannot be written.
        """
        from email.policy import SMTP

        try:
            await to_thread.run_sync(self._write, message.as_bytes(policy=SMTP))
        except OSError as error:
            raise MailNotSentError(f"the file is not written: {error.strerror}") from error

    def _write(self, content: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._directory / f"{secrets.token_hex(16)}.draft"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        # A reader of `*.eml` finds complete files only.
        draft.rename(draft.with_suffix(".eml"))


def transport(settings: MailSettings) -> MailTransport | None:
    """Return the configured transport, or `None` if mail is off."""
    if settings.transport == "off":
        return None
    return SmtpTransport(settings) if settings.transport == "smtp" else FileTransport(settings.directory)


def _described(error: Exception) -> str:
    """Return what is known of a failure without a reply of the server."""
    code = getattr(error, "code", None)
    return type(error).__name__ if code is None else f"{type(error).__name__} with status {code}"
