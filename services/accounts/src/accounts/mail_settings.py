"""Settings of the mail that accounts sends."""

from typing import Annotated

from msgspec import Meta
from starkeel_config import HttpUrl, Settings, Variable


class MailFlowSettings(Settings, frozen=True, kw_only=True):
    """Verification of addresses and password resets by mail."""

    verify_url: Annotated[HttpUrl | None, Variable("MAIL_VERIFY_URL")] = None
    """Page that confirms an address; the mail links to it with `#token=TOKEN`. Without it the mail has the
    token itself."""

    reset_url: Annotated[HttpUrl | None, Variable("MAIL_RESET_URL")] = None
    """Page that resets a password; the mail links to it with `#token=TOKEN`. Without it the mail has the
    token itself."""

    per_hour: Annotated[int, Variable("MAILS_PER_HOUR"), Meta(ge=1, le=1000)] = 5
    """Maximum number of mails to one address in an hour; further requests are dropped and logged."""

    verification_hours: Annotated[int, Variable("EMAIL_VERIFICATION_HOURS"), Meta(ge=1, le=720)] = 48
    """Hours for which the token of a verification mail is valid."""

    reset_minutes: Annotated[int, Variable("PASSWORD_RESET_MINUTES"), Meta(ge=5, le=1440)] = 30
    """Minutes for which the token of a password reset is valid."""
