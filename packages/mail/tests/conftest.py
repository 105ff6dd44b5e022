"""A real SMTP server, and settings for it."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starkeel_config import load
from starkeel_mail import MailSettings

from tests.support import smtp
from tests.support.certificates import Authority
from tests.support.smtp import PASSWORD, USERNAME, Inbox, Relay, running_relay

Read = Callable[..., MailSettings]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def server_context(authority: Authority) -> ssl.SSLContext:
    return smtp.server_context(authority)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def relay(inbox: Inbox, server_context: ssl.SSLContext) -> Iterator[Relay]:
    """An SMTP server that requires STARTTLS and authentication."""
    with running_relay(inbox, server_context) as relay:
        yield relay


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read settings from variables."""

    def read(**env: str) -> MailSettings:
        return load(MailSettings, env, service="shop", dotenv=tmp_path / "absent")

    return read


@pytest.fixture
def smtp_env(authority: Authority) -> dict[str, str]:
    """Variables for an SMTP server, without its port."""
    return {
        "MAIL_TRANSPORT": "smtp",
        "MAIL_FROM": "no-reply@example.com",
        "SMTP_HOST": "127.0.0.1",
        "SMTP_CA_FILE": str(authority.certificate),
        "SMTP_USERNAME": USERNAME,
        "SMTP_PASSWORD": PASSWORD,
    }
