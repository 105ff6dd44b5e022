"""Texts of the mail to users."""

from email.message import EmailMessage
from typing import Literal
from uuid import UUID

from starkeel_config import HttpUrl
from starkeel_mail import MailSettings, text_message

from .mail_settings import MailFlowSettings

MailKind = Literal["already_registered", "reset_password", "verify_email"]

_SUBJECTS: dict[MailKind, str] = {
    "already_registered": "You already have an account",
    "reset_password": "Reset your password",
    "verify_email": "Confirm your email address",
}
_NOT_YOU = "If you did not request this, ignore this mail: nothing changes without it."


def message(
    settings: MailSettings,
    flows: MailFlowSettings,
    kind: MailKind,
    *,
    recipient: str,
    mail_id: UUID,
    token: str | None = None,
) -> EmailMessage:
    """Return the message of a request; each attempt to send it has the same `Message-ID`."""
    return text_message(
        settings,
        mail_id=str(mail_id),
        recipient=recipient,
        subject=_SUBJECTS[kind],
        text=_text(flows, kind, token or ""),
    )


def _text(settings: MailFlowSettings, kind: MailKind, token: str) -> str:
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
