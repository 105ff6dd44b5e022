"""Mail over SMTP, to a real server, and its failures."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from starkeel_mail import MailNotSentError, MailRefusedError, MailSettings, text_message, transport

from tests.support.smtp import PASSWORD, USERNAME, Inbox, Relay, Tls, running_relay

ADDRESS = "ada@example.com"
# aiosmtpd does not count a connection that is encrypted from the start as one with TLS.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")


@pytest.fixture(autouse=True)
async def _connections_are_closed() -> AsyncIterator[None]:
    before = _established()
    yield
    # The end of TLS is negotiated after `close`, by the event loop, which ends with the test.
    async with asyncio.timeout(10):
        while _established() - before:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


def _established() -> set[Any]:
    found = psutil.Process().net_connections("tcp")
    return {each for each in found if each.status == psutil.CONN_ESTABLISHED}


async def send(settings: MailSettings, text: str = "Your account is ready.") -> None:
    destination = transport(settings)
    assert destination is not None
    await destination.send(
        text_message(settings, mail_id="welcome-7", recipient=ADDRESS, subject="Welcome", text=text)
    )


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_mail_is_sent_encrypted_and_with_credentials(
    inbox: Inbox, server_context: ssl.SSLContext, read: Any, smtp_env: dict[str, str], tls: Tls
) -> None:
    with running_relay(inbox, server_context, tls) as relay:
        await send(read(**smtp_env, SMTP_PORT=str(relay.port), SMTP_TLS=tls), text="Grüße, 7 €")

    [mail] = inbox.mails
    assert (mail["To"], mail["From"], mail["Subject"]) == (ADDRESS, "no-reply@example.com", "Welcome")
    assert mail["Message-ID"] == "<welcome-7@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime is not None
    assert mail.get_content().strip() == "Grüße, 7 €"
    assert inbox.users == [USERNAME.encode()]


async def test_development_may_send_unencrypted(
    inbox: Inbox, server_context: ssl.SSLContext, read: Any, smtp_env: dict[str, str]
) -> None:
    with running_relay(inbox, server_context, "off") as relay:
        env = smtp_env | {"SMTP_PORT": str(relay.port), "SMTP_TLS": "off", "ENVIRONMENT": "development"}
        await send(read(**env))

    assert [mail["To"] for mail in inbox.mails] == [ADDRESS]


@pytest.mark.parametrize(
    ("rejections", "status"),
    [
        ({"refusals": ["550 No such user ada@example.com"]}, "550"),
        ({"content_refusals": ["554 Spam for ada@example.com"]}, "554"),
    ],
)
async def test_what_is_refused_permanently_is_distinguished(
    relay: Relay, inbox: Inbox, read: Any, smtp_env: dict[str, str], rejections: dict[str, Any], status: str
) -> None:
    for name, replies in rejections.items():
        setattr(inbox, name, list(replies))
    settings = read(**smtp_env, SMTP_PORT=str(relay.port))

    with pytest.raises(MailRefusedError) as refused:
        await send(settings)

    assert status in str(refused.value)
    assert ADDRESS not in str(refused.value)
    assert inbox.mails == []
    # The next one is accepted: nothing of the failed connection is left.
    await send(settings)
    assert len(inbox.mails) == 1


@pytest.mark.parametrize(
    ("rejections", "reason"),
    [
        ({"refusals": ["451 Later, ada@example.com"]}, "451"),
        ({"content_refusals": ["452 Later, ada@example.com"]}, "452"),
    ],
)
async def test_what_is_refused_for_now_may_be_sent_again(
    relay: Relay, inbox: Inbox, read: Any, smtp_env: dict[str, str], rejections: dict[str, Any], reason: str
) -> None:
    for name, replies in rejections.items():
        setattr(inbox, name, list(replies))
    settings = read(**smtp_env, SMTP_PORT=str(relay.port))

    with pytest.raises(MailNotSentError, match=reason) as failed:
        await send(settings)

    assert ADDRESS not in str(failed.value)
    # Neither is it in a stack trace.
    assert failed.value.__suppress_context__


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"SMTP_PASSWORD": "wrong"}, "SMTPAuthenticationError with status 535"),
        ({"SMTP_CA_FILE": ""}, "SSLCertVerificationError"),
        ({"SMTP_CA_FILE": "/nonexistent.pem"}, "FileNotFoundError"),
    ],
)
async def test_a_server_that_is_not_usable_is_a_failure_for_now(
    relay: Relay,
    inbox: Inbox,
    read: Any,
    smtp_env: dict[str, str],
    changed: dict[str, str],
    reason: str,
) -> None:
    settings = read(**(smtp_env | {"SMTP_PORT": str(relay.port)} | changed))

    with pytest.raises(MailNotSentError, match=reason) as failed:
        await send(settings)

    assert inbox.mails == []
    assert PASSWORD not in str(failed.value)


async def test_a_server_without_starttls_gets_no_credentials(
    inbox: Inbox, server_context: ssl.SSLContext, read: Any, smtp_env: dict[str, str]
) -> None:
    with running_relay(inbox, server_context, "off") as relay:
        settings = read(**smtp_env, SMTP_PORT=str(relay.port))
        with pytest.raises(MailNotSentError):
            await send(settings)

    assert (inbox.users, inbox.mails) == ([], [])


async def test_a_server_that_does_not_answer_is_given_up(read: Any, smtp_env: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        settings = read(**smtp_env, SMTP_PORT=str(port), SMTP_TIMEOUT_SECONDS="1")
        with pytest.raises(MailNotSentError, match="Timeout"):
            await send(settings)


async def test_an_unreachable_server_is_a_failure_for_now(read: Any, smtp_env: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    with pytest.raises(MailNotSentError):
        await send(read(**smtp_env, SMTP_PORT=str(port)))


async def test_a_reply_that_is_late_is_given_up(
    relay: Relay, inbox: Inbox, read: Any, smtp_env: dict[str, str], tmp_path: Path
) -> None:
    inbox.released.clear()
    settings = read(**smtp_env, SMTP_PORT=str(relay.port), SMTP_TIMEOUT_SECONDS="1")

    with pytest.raises(MailNotSentError, match="Timeout"):
        await send(settings)

    assert inbox.attempts == 1


async def test_an_accepted_mail_is_sent_even_if_the_server_does_not_answer_quit(
    relay: Relay, inbox: Inbox, read: Any, smtp_env: dict[str, str]
) -> None:
    inbox.answers_quit.clear()

    await send(read(**smtp_env, SMTP_PORT=str(relay.port), SMTP_TIMEOUT_SECONDS="1"))

    assert len(inbox.mails) == 1


async def test_a_cancellation_does_not_wait_for_the_server(
    relay: Relay, inbox: Inbox, read: Any, smtp_env: dict[str, str]
) -> None:
    inbox.released.clear()
    sending = asyncio.ensure_future(send(read(**smtp_env, SMTP_PORT=str(relay.port))))
    async with asyncio.timeout(30):
        while inbox.attempts == 0:  # noqa: ASYNC110 - counted in the thread of the server
            await asyncio.sleep(0.01)
    sending.cancel()

    # Neither the reply to the recipient nor one to QUIT arrives.
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(10):
            await sending
    assert not inbox.released.is_set()
    assert inbox.mails == []
