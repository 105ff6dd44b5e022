"""Settings of mail."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta
from starkeel_config import Environment, HttpUrl, Problem, Secret, Settings, Variable

_Address = Meta(
    max_length=254,
    pattern=r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+$",
    description="an email address without a name, such as `accounts@example.com`",
)


class MailSettings(Settings, frozen=True, kw_only=True):
    """Mail to users, for the verification of their addresses and for password resets."""

    transport: Annotated[Literal["off", "file", "smtp"], Variable("MAIL_TRANSPORT")] = "off"
    """Destination of mail: `smtp` for a server; `file` for a directory, only in development, because the
    files contain valid tokens; `off` rejects requests that need mail with 503."""

    sender: Annotated[str | None, Variable("MAIL_FROM", development="accounts@example.com"), _Address] = None
    """Sender of all mail."""

    directory: Annotated[Path, Variable("MAIL_DIRECTORY")] = Path(".data/mail")
    """Directory of the transport `file`; each mail is a file `ID.eml`, readable only by its owner."""

    smtp_host: Annotated[str | None, Variable("SMTP_HOST"), Meta(min_length=1, max_length=253)] = None
    """Host of the SMTP server."""

    smtp_port: Annotated[int, Variable("SMTP_PORT"), Meta(ge=1, le=65_535)] = 587
    """Port of the SMTP server; usually 587 with `starttls`, 465 with `tls`."""

    smtp_tls: Annotated[Literal["starttls", "tls", "off"], Variable("SMTP_TLS")] = "starttls"
    """Encryption: `starttls` requires STARTTLS, `tls` encrypts from the start; both verify the
    certificate."""

    smtp_ca_file: Annotated[Path | None, Variable("SMTP_CA_FILE")] = None
    """PEM file of the authorities that sign the server's certificate; by default those of the system."""

    smtp_username: Annotated[str | None, Variable("SMTP_USERNAME"), Meta(min_length=1, max_length=255)] = None
    """User at the SMTP server; without it there is no authentication."""

    smtp_password: Annotated[Secret | None, Variable("SMTP_PASSWORD")] = None
    """Password at the SMTP server."""

    smtp_timeout_s: Annotated[float, Variable("SMTP_TIMEOUT_SECONDS"), Meta(ge=1, le=300)] = 30.0
    """Seconds that sending one mail may take, from connecting to the acceptance."""

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

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Reject incomplete settings, tokens in files, and credentials that are sent unencrypted."""
        if self.transport == "off":
            return
        if self.sender is None:
            yield Problem("MAIL_FROM", "is not set", "the sender of all mail")
        if self.transport == "file":
            if environment != "development":
                yield Problem("MAIL_TRANSPORT", "is 'file', which stores valid tokens", "smtp or off")
            return
        if self.smtp_host is None:
            yield Problem("SMTP_HOST", "is not set", "the host of the SMTP server")
        if (self.smtp_username is None) != (self.smtp_password is None):
            absent = "SMTP_PASSWORD" if self.smtp_password is None else "SMTP_USERNAME"
            yield Problem(absent, "is not set", "both SMTP_USERNAME and SMTP_PASSWORD, or neither")
        if self.smtp_tls == "off" and environment != "development":
            yield Problem("SMTP_TLS", "is 'off': tokens would be sent unencrypted", "starttls or tls")
