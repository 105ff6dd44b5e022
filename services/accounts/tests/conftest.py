"""A running accounts on each database, factories for its requests, and users."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from functools import cache
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import jwt
import msgspec
import pytest
from accounts.common_passwords import CommonPasswords
from accounts.emails import EmailAddress
from accounts.schemas import (
    AddressGiven,
    Credentials,
    Deactivation,
    PasswordChange,
    PasswordReset,
    Refresh,
    SignOut,
    SignUp,
    TokenGiven,
)
from accounts.users import User
from argon2 import PasswordHasher
from polyfactory import PostGenerated, Use
from polyfactory.factories.msgspec_factory import MsgspecFactory
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory
from starkeel_auth import SigningKeys, generate_private_key_pem
from starkeel_testing import Service, running, wait_until

from tests.support.certificates import Authority
from tests.support.smtp import Inbox, Relay, running_relay, server_context, smtp_variables

_TOKEN = re.compile(r"(?:^|#token=)([A-Za-z0-9_-]{43})\r?$", re.MULTILINE)


def _email() -> str:
    return f"{uuid4().hex}@example.com"


def _password() -> str:
    # One of 22,000 passwords is taken for a common one.
    return next(password for password in _candidates() if password not in CommonPasswords.load())


def _candidates() -> Iterator[str]:
    while True:
        yield f"quiet lighthouse {uuid4().hex[:12]}"


class SignUpFactory(MsgspecFactory[SignUp]):
    __random_seed__ = 7
    email = Use(_email)
    password = Use(_password)


class CredentialsFactory(MsgspecFactory[Credentials]):
    __random_seed__ = 7
    email = Use(_email)
    password = Use(_password)


class PasswordChangeFactory(MsgspecFactory[PasswordChange]):
    __random_seed__ = 7
    current_password = Use(_password)
    new_password = Use(_password)


class DeactivationFactory(MsgspecFactory[Deactivation]):
    __random_seed__ = 7
    password = Use(_password)


class RefreshFactory(MsgspecFactory[Refresh]):
    __random_seed__ = 7


class SignOutFactory(MsgspecFactory[SignOut]):
    __random_seed__ = 7


class AddressGivenFactory(MsgspecFactory[AddressGiven]):
    __random_seed__ = 7
    email = Use(_email)


class TokenGivenFactory(MsgspecFactory[TokenGiven]):
    __random_seed__ = 7


class PasswordResetFactory(MsgspecFactory[PasswordReset]):
    __random_seed__ = 7
    new_password = Use(_password)


def _password_hash() -> str:
    # Valid, with low cost parameters.
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(_password())


class UserFactory(SQLAlchemyFactory[User]):
    __random_seed__ = 7
    email = Use(_email)
    email_key = PostGenerated(lambda _, values: EmailAddress.parse(values["email"]).key)
    password_hash = Use(_password_hash)
    deactivated_at = None
    email_verified_at = None


@dataclass(frozen=True)
class Factories:
    """Factories of requests and rows with arbitrary values; a test passes the values that matter."""

    sign_up: type[SignUpFactory] = SignUpFactory
    credentials: type[CredentialsFactory] = CredentialsFactory
    password_change: type[PasswordChangeFactory] = PasswordChangeFactory
    deactivation: type[DeactivationFactory] = DeactivationFactory
    refresh: type[RefreshFactory] = RefreshFactory
    sign_out: type[SignOutFactory] = SignOutFactory
    address_given: type[AddressGivenFactory] = AddressGivenFactory
    token_given: type[TokenGivenFactory] = TokenGivenFactory
    password_reset: type[PasswordResetFactory] = PasswordResetFactory
    user: type[UserFactory] = UserFactory


@dataclass(frozen=True)
class Person:
    """A registered user with the tokens of a session."""

    id: str
    email: str
    password: str
    headers: dict[str, str]
    refresh_token: str


@dataclass(frozen=True)
class Mailbox:
    """The directory of `MAIL_DIRECTORY`."""

    directory: Path

    def of(self, email: str, subject: str = "") -> list[EmailMessage]:
        """Return the mails to an address, oldest first."""
        files = sorted(self.directory.glob("*.eml"), key=lambda file: file.stat().st_mtime_ns)
        mails = [cast(EmailMessage, message_from_bytes(file.read_bytes(), policy=default)) for file in files]
        return [mail for mail in mails if mail["To"] == email and subject in mail["Subject"]]

    def wait(self, email: str, subject: str, *, count: int = 1) -> list[EmailMessage]:
        """Wait until an address has a number of mails with a subject."""
        wait_until(lambda: len(self.of(email, subject)) >= count, timeout_s=20)
        return self.of(email, subject)

    def token(self, email: str, subject: str, *, count: int = 1) -> str:
        """Wait for mails and return the token of the last one."""
        return self.token_of(self.wait(email, subject, count=count)[-1])

    def token_of(self, mail: EmailMessage) -> str:
        """Return the token of a mail."""
        [token] = _TOKEN.findall(mail.get_content())
        return cast("str", token)


@pytest.fixture(scope="session")
def make() -> Factories:
    return Factories()


@pytest.fixture(scope="session")
def body() -> Callable[[msgspec.Struct], Any]:
    """Return the JSON body of a request."""
    return msgspec.to_builtins


def _sign_up(service: Service) -> Person:
    """Register a user and sign in."""
    request = SignUpFactory.build()
    created = service.client.post("/api/users", json=msgspec.to_builtins(request))
    assert created.status_code == 201, created.text
    response = service.client.post("/api/auth/token", json=msgspec.to_builtins(request))
    assert response.status_code == 200, response.text
    return Person(
        id=created.json()["id"],
        email=request.email,
        password=request.password,
        headers={"Authorization": f"Bearer {response.json()['access_token']}"},
        refresh_token=response.json()["refresh_token"],
    )


@pytest.fixture(scope="session")
def sign_up() -> Callable[[Service], Person]:
    return _sign_up


@pytest.fixture(scope="session")
def signing_pem() -> str:
    """Private key of the accounts under test."""
    return generate_private_key_pem()


@pytest.fixture(scope="session")
def _started(signing_pem: str) -> Iterator[Callable[[Callable[[], str]], Service]]:
    """Start accounts once with each kind of database; it runs until the end of the run."""
    # All requests come from one address.
    names = ("SIGN_UP", "TOKEN", "SIGN_IN_ACCOUNT", "REFRESH", "PASSWORD", "PROFILE", "DISCOVERY", "MAIL")
    limits = {f"RATE_LIMIT_{name}": "10000/minute" for name in names}
    env = {"JWT_PRIVATE_KEY": signing_pem, "CORS_ALLOWED_ORIGINS": "https://shop.example.com", **limits}
    with ExitStack() as stack:

        @cache
        def start(database: Callable[[], str]) -> Service:
            return stack.enter_context(running("accounts", env | {"DATABASE_URL": database()}))

        yield start


@pytest.fixture(scope="session")
def service(session_database: Callable[[], str], _started: Callable[[Callable[[], str]], Service]) -> Service:
    """A running accounts for all tests: once with SQLite, once with PostgreSQL."""
    return _started(session_database)


@pytest.fixture(scope="session")
def forged(signing_pem: str) -> Callable[[Mapping[str, Any], str], str]:
    """Sign claims again with one flaw, or without a flaw for `none`."""
    keys = SigningKeys.from_pem(signing_pem)
    now = int(time.time())
    flaws: dict[str, dict[str, Any]] = {
        "expired": {"iat": now - 7200, "exp": now - 3600},
        "other issuer": {"iss": "https://evil.example"},
        "other audience": {"aud": "other"},
        "other key": {},
        "no signature": {},
        "none": {},
    }

    def forge(claims: Mapping[str, Any], flaw: str) -> str:
        changed = {**claims, **flaws[flaw]}
        if flaw == "no signature":
            headers = {"typ": "at+jwt", "kid": keys.jwks()["keys"][0]["kid"]}
            return jwt.encode(changed, None, algorithm="none", headers=headers)
        signer = SigningKeys.from_pem(generate_private_key_pem()) if flaw == "other key" else keys
        return signer.sign(changed)

    return forge


@pytest.fixture(scope="session")
def mailbox_of() -> Callable[[Path], Mailbox]:
    return Mailbox


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def relay(inbox: Inbox, authority: Authority) -> Iterator[Relay]:
    """An SMTP server that requires STARTTLS and authentication."""
    with running_relay(inbox, server_context(authority)) as relay:
        yield relay


@pytest.fixture
def smtp_env(relay: Relay, authority: Authority, database_url: str) -> dict[str, str]:
    """Variables of an accounts that sends mail to `relay`."""
    limits = ("SIGN_UP", "TOKEN", "PASSWORD", "PROFILE", "MAIL")
    return {
        "DATABASE_URL": database_url,
        **smtp_variables(relay, authority, sender="no-reply@example.com"),
    } | {f"RATE_LIMIT_{name}": "10000/minute" for name in limits}
