"""Settings of mail, read from the environment."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta
from starkeel_config import Environment, Problem, Secret, Settings, Variable

_Address = Meta(
    max_length=254,
    pattern=r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+$",
    description="an email address without a name, such as `no-reply@example.com`",
)


class MailSettings(Settings, frozen=True, kw_only=True):
    """Mail."""

    transport: Annotated[Literal["off", "file", "smtp"], Variable("MAIL_TRANSPORT")] = "off"
    """Destination of mail: `smtp` for a server; `file` for a directory, only in development, because mail
    may contain links that sign in; `off` sends none."""

    sender: Annotated[str | None, Variable("MAIL_FROM", development="no-reply@example.com"), _Address] = None
    """Sender of all mail."""

    directory: Annotated[Path, Variable("MAIL_DIRECTORY")] = Path(".data/mail")
    """Directory of the transport `file`; each mail is a file `ID.eml`, readable only by its owner."""

    smtp_host: Annotated[str | None, Variable("SMTP_HOST"), Meta(min_length=1, max_length=253)] = None
    """Host of the SMTP server."""

    smtp_port: Annotated[int, Variable("SMTP_PORT"), Meta(ge=1, le=65_535)] = 587
    """Port of the SMTP server; usually 587 with `starttls`, 465 with `tls`."""

    smtp_tls: Annotated[Literal["starttls", "tls", "off"], Variable("SMTP_TLS")] = "starttls"
    """Encryption: `starttls` requires STARTTLS, `tls` encrypts from the start; both verify the
    certificate. `off` is accepted only in development."""

    smtp_ca_file: Annotated[Path | None, Variable("SMTP_CA_FILE")] = None
    """PEM file of the authorities that sign the server's certificate; by default those of the system."""

    smtp_username: Annotated[str | None, Variable("SMTP_USERNAME"), Meta(min_length=1, max_length=255)] = None
    """User at the SMTP server; without it there is no authentication."""

    smtp_password: Annotated[Secret | None, Variable("SMTP_PASSWORD")] = None
    """Password at the SMTP server."""

    smtp_timeout_s: Annotated[float, Variable("SMTP_TIMEOUT_SECONDS"), Meta(ge=1, le=300)] = 30.0
    """Seconds that sending one mail may take, from connecting to the acceptance."""

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Reject incomplete settings, mail in files, and mail that is sent unencrypted."""
        if self.transport == "off":
            return
        if self.sender is None:
            yield Problem("MAIL_FROM", "is not set", "the sender of all mail")
        if self.transport == "file":
            if environment != "development":
                yield Problem("MAIL_TRANSPORT", "is 'file', which stores what is mailed", "smtp or off")
            return
        if self.smtp_host is None:
            yield Problem("SMTP_HOST", "is not set", "the host of the SMTP server")
        if (self.smtp_username is None) != (self.smtp_password is None):
            absent = "SMTP_PASSWORD" if self.smtp_password is None else "SMTP_USERNAME"
            yield Problem(absent, "is not set", "both SMTP_USERNAME and SMTP_PASSWORD, or neither")
        if self.smtp_tls == "off" and environment != "development":
            yield Problem("SMTP_TLS", "is 'off': mail would be sent unencrypted", "starttls or tls")
