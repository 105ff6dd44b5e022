"""A real SMTP server for tests, whose replies a test decides."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Literal, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from .certificates import Authority

USERNAME, PASSWORD = "relay-user", "secret of the relay"
Tls = Literal["off", "starttls", "tls"]


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


@dataclass
class Inbox:
    """Handler of an SMTP server: keeps mail.

    Attributes:
        mails: Accepted messages.
        offered: All messages, with those that were refused for their content.
        users: Names by which clients have authenticated.
        refusals: Replies to the next recipients, in place of acceptance.
        content_refusals: Replies to the next messages, in place of acceptance.
        attempts: Number of recipients that were named.
        released: While it is cleared, replies to recipients wait.
        answers_quit: While it is cleared, replies to QUIT wait.
    """

    mails: list[EmailMessage] = field(default_factory=list)
    offered: list[EmailMessage] = field(default_factory=list)
    users: list[bytes] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    content_refusals: list[str] = field(default_factory=list)
    attempts: int = 0
    released: threading.Event = field(default_factory=_set)
    answers_quit: threading.Event = field(default_factory=_set)

    async def handle_RCPT(  # noqa: N802  (the name is aiosmtpd's)
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        self.attempts += 1
        await asyncio.to_thread(self.released.wait)
        if self.refusals:
            return self.refusals.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        mail = message_from_bytes(cast("bytes", envelope.content), policy=default)
        self.offered.append(cast("EmailMessage", mail))
        if self.content_refusals:
            return self.content_refusals.pop(0)
        self.mails.append(self.offered[-1])
        return "250 OK"

    async def handle_QUIT(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
        await asyncio.to_thread(self.answers_quit.wait)
        return "221 Bye"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: LoginPassword
    ) -> AuthResult:
        self.users.append(data.login)
        is_known = data.login == USERNAME.encode() and data.password == PASSWORD.encode()
        # Not handled: the server sends the reply to a failure.
        return AuthResult(success=is_known, handled=False)


class Relay(Controller):
    """SMTP server on a port that the system chooses."""

    def _trigger_server(self) -> None:
        # The base class connects to the port that it was given, which is 0.
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # it is started
        super()._trigger_server()


@contextmanager
def running_relay(inbox: Inbox, context: ssl.SSLContext, tls: Tls = "starttls") -> Iterator[Relay]:
    """Run an SMTP server that requires encryption, unless `off`, and authentication."""
    relay = Relay(
        inbox,
        hostname="127.0.0.1",
        port=0,
        ssl_context=context if tls == "tls" else None,
        tls_context=context if tls == "starttls" else None,
        require_starttls=tls == "starttls",
        auth_required=True,
        auth_require_tls=tls == "starttls",
        authenticator=inbox.authenticate,
    )
    relay.start()
    try:
        yield relay
    finally:
        inbox.released.set()
        inbox.answers_quit.set()
        relay.stop()


def server_context(authority: Authority) -> ssl.SSLContext:
    """Return the TLS context of an SMTP server with a certificate of the authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("relay"))
    return context


def smtp_variables(relay: Relay, authority: Authority, *, sender: str) -> dict[str, str]:
    """Return the variables of a service that sends mail to a server with STARTTLS."""
    return {
        "MAIL_TRANSPORT": "smtp",
        "MAIL_FROM": sender,
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(relay.port),
        "SMTP_CA_FILE": str(authority.certificate),
        "SMTP_USERNAME": USERNAME,
        "SMTP_PASSWORD": PASSWORD,
    }
