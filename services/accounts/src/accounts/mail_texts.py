"""Texts of the mail to users."""

from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from uuid import UUID

from starkeel_config import HttpUrl

from .mail.queue import MailKind
from .mail.settings import MailSettings

_SUBJECTS: dict[MailKind, str] = {
    "already_registered": "You already have an account",
    "reset_password": "Reset your password",
    "verify_email": "Confirm your email address",
}
_NOT_YOU = "If you did not request this, ignore this mail: nothing changes without it."


def message(
    settings: MailSettings, kind: MailKind, *, recipient: str, request_id: UUID, token: str | None = None
) -> EmailMessage:
    """Return the message of a request.

    Its `Message-ID` is that of the request, so that a mail that is sent twice is recognised as one.
    """
    sender = settings.sender or ""
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = recipient
    mail["Subject"] = _SUBJECTS[kind]
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = f"<{request_id}@{sender.rpartition('@')[2]}>"
    # RFC 3834: no out-of-office replies.
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(_text(settings, kind, token or ""))
    return mail


def _text(settings: MailSettings, kind: MailKind, token: str) -> str:
    if kind == "verify_email":
        validity = f"It is valid for {settings.verification_hours} hours and can be used once."
        how = _how(settings.verify_url, token)
        return (
            f"An account was registered with this email address.\n"
            f"To confirm the address, {how}\n\n{validity}\n\n"
            "If you have not registered, do not confirm it.\n"
        )
    if kind == "reset_password":
        validity = f"It is valid for {settings.reset_minutes} minutes and can be used once."
        how = _how(settings.reset_url, token)
        return (
            f"A new password was requested for your account.\n"
            f"To set it, {how}\n\n{validity}\nYou will be signed out everywhere.\n\n{_NOT_YOU}\n"
        )
    return (
        "An account was to be registered with this email address, but there is one already.\n"
        f"Sign in with it, or request a new password if you have forgotten yours.\n\n{_NOT_YOU}\n"
    )


def _how(url: HttpUrl | None, token: str) -> str:
    if url is None:
        return f"use this token:\n\n{token}"
    # In the fragment, which browsers send to no server: it is in no access log and no `Referer`.
    return f"open this page:\n\n{url}#token={token}"
