"""Transports of mail: an SMTP server, or a directory in development."""

import os
import secrets
import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol, final

import anyio
from anyio import to_thread

from .settings import MailSettings

_PERMANENT = 500


class MailRefusedError(Exception):
    """The recipient or the content is refused permanently; another attempt would be refused as well."""


class MailTransport(Protocol):
    """Destination of mail."""

    async def send(self, message: EmailMessage) -> None:
        """Send a message; when this returns, the destination has accepted it.

        Raises:
            MailRefusedError: It is refused permanently.
            Exception: Any other failure, after which it may be sent again.
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
            TimeoutError: The server was too slow; it may have accepted the message.
            aiosmtplib.SMTPException: The server is unreachable, or has refused the connection, the sender or
                the credentials, or anything for the moment.
        """
        # Imported here, as most processes send no mail when they start.
        import aiosmtplib

        settings = self._settings
        password = settings.smtp_password
        try:
            with anyio.fail_after(settings.smtp_timeout_s):
                await aiosmtplib.send(
                    message,
                    hostname=settings.smtp_host,
                    port=settings.smtp_port,
                    username=settings.smtp_username,
                    password=None if password is None else password.reveal(),
                    timeout=settings.smtp_timeout_s,
                    use_tls=settings.smtp_tls == "tls",
                    start_tls=settings.smtp_tls == "starttls",
                    tls_context=await self._tls_context(),
                )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [recipient.code for recipient in error.recipients]
            if min(codes) >= _PERMANENT:
                raise MailRefusedError(f"the recipient is refused with status {codes[0]}") from None
            raise
        except aiosmtplib.SMTPDataError as error:
            if error.code >= _PERMANENT:
                raise MailRefusedError(f"the content is refused with status {error.code}") from None
            raise

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
        """Write a message to a new file, readable only by its owner."""
        from email.policy import SMTP

        await to_thread.run_sync(self._write, message.as_bytes(policy=SMTP))

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
