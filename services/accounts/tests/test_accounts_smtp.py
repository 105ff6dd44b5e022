"""Mail over SMTP, to a real server, and its failures."""

import datetime
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from starkeel_testing import Service, running, wait_until

VERIFY = "Confirm your email address"
SignUp = Callable[[Service], Any]


@dataclass
class Inbox:
    """Handler of an SMTP server: keeps mail, and gives the next recipients the replies of `refusals`."""

    mails: list[EmailMessage] = field(default_factory=list)
    users: list[bytes] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    attempts: int = 0

    async def handle_RCPT(  # noqa: N802  (the name is aiosmtpd's)
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        self.attempts += 1
        if self.refusals:
            return self.refusals.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = cast("bytes", envelope.content)
        self.mails.append(cast("EmailMessage", message_from_bytes(content, policy=default)))
        return "250 OK"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: LoginPassword
    ) -> AuthResult:
        self.users.append(data.login)
        return AuthResult(success=data.password == b"secret of the relay")


class Relay(Controller):
    """SMTP server on a port that the system chooses."""

    def _trigger_server(self) -> None:
        # The base class connects to the port that it was given, which is 0.
        self.port = self.server.sockets[0].getsockname()[1]  # type: ignore[union-attr]  # it is started
        super()._trigger_server()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of 127.0.0.1 and its key, in one file."""
    key = Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None)
    )
    file = tmp_path_factory.mktemp("relay") / "relay.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + built.public_bytes(Encoding.PEM))
    return file


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def relay(inbox: Inbox, certificate: Path) -> Iterator[Relay]:
    """An SMTP server that requires STARTTLS and authentication."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    controller = Relay(
        inbox,
        hostname="127.0.0.1",
        port=0,
        tls_context=context,
        require_starttls=True,
        auth_required=True,
        authenticator=inbox.authenticate,
    )
    controller.start()
    yield controller
    controller.stop()


def _env(relay: Relay, certificate: Path, tmp_path: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": f"sqlite:///{tmp_path}/accounts.sqlite",
        "MAIL_TRANSPORT": "smtp",
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(relay.port),
        "SMTP_CA_FILE": str(certificate),
        "SMTP_USERNAME": "accounts",
        "SMTP_PASSWORD": "secret of the relay",
        "MAIL_FROM": "no-reply@example.com",
    }


def test_mail_is_sent_over_starttls_with_credentials(
    relay: Relay, inbox: Inbox, certificate: Path, tmp_path: Path, sign_up: SignUp
) -> None:
    with running("accounts", _env(relay, certificate, tmp_path)) as service:
        person = sign_up(service)
        service.wait_for_log("mail sent", kind="verify_email")
        assert service.metric("mails_total", result="sent") == 1
        output = service.output()

    [mail] = inbox.mails
    assert (mail["To"], mail["From"], mail["Subject"]) == (person.email, "no-reply@example.com", VERIFY)
    assert mail["Message-ID"].endswith("@example.com>")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert inbox.users == [b"accounts"]
    assert "secret of the relay" not in output


def test_a_recipient_that_is_refused_for_good_is_not_tried_again(
    relay: Relay, inbox: Inbox, certificate: Path, tmp_path: Path, sign_up: SignUp
) -> None:
    inbox.refusals = ["550 No such user"]
    with running("accounts", _env(relay, certificate, tmp_path)) as service:
        person = sign_up(service)
        refused = service.wait_for_log("mail refused", kind="verify_email")
        # A later mail is sent; the refused one is not.
        service.client.post("/api/auth/password-reset", json={"email": person.email})
        service.wait_for_log("mail sent", kind="reset_password")

    assert "550" in refused["reason"]
    assert person.email not in str(refused)
    assert inbox.attempts == 2


def test_mail_is_sent_again_after_failures_and_a_restart(
    relay: Relay, inbox: Inbox, certificate: Path, tmp_path: Path, sign_up: SignUp
) -> None:
    inbox.refusals = ["451 Try again later"]
    env = _env(relay, certificate, tmp_path)
    with running("accounts", env) as service:
        person = sign_up(service)
        failed = service.wait_for_log("mail not sent", kind="verify_email")
        assert failed["error"] == "SMTPRecipientsRefused"
        assert inbox.mails == []
    with running("accounts", env) as service:
        sent = service.wait_for_log("mail sent", kind="verify_email", timeout_s=60)

    assert sent["attempts"] == 2
    [mail] = inbox.mails
    assert mail["To"] == person.email


@pytest.mark.parametrize("changed", [{"SMTP_CA_FILE": ""}, {"SMTP_PASSWORD": "wrong"}, {"SMTP_PORT": "1"}])
def test_mail_is_kept_while_the_server_is_not_usable(
    relay: Relay,
    inbox: Inbox,
    certificate: Path,
    tmp_path: Path,
    sign_up: SignUp,
    changed: dict[str, str],
) -> None:
    env = _env(relay, certificate, tmp_path)
    with running("accounts", env | changed) as service:
        sign_up(service)
        service.wait_for_log("mail not sent", kind="verify_email", timeout_s=60)
        assert service.metric("mails_total", result="retried") >= 1
    assert inbox.mails == []
    with running("accounts", env) as service:
        service.wait_for_log("mail sent", kind="verify_email", timeout_s=60)

    wait_until(lambda: len(inbox.mails) == 1, timeout_s=20)
