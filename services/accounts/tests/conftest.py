"""A running accounts on each database, and what its tests say to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from accounts.messages import Credentials, Deactivation, PasswordChange, SignUp
from accounts.users import User
from polyfactory import Use
from polyfactory.factories.msgspec_factory import MsgspecFactory
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory
from starkeel_testing import Service


def _email() -> str:
    return f"{uuid4().hex}@example.com"


def _password() -> str:
    return f"quiet lighthouse {uuid4().hex[:12]}"


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


class UserFactory(SQLAlchemyFactory[User]):
    __random_seed__ = 7
    email = Use(_email)
    deactivated_at = None


@dataclass(frozen=True)
class Factories:
    """Requests and rows with values that do not matter; name those that do."""

    sign_up: type[SignUpFactory] = SignUpFactory
    credentials: type[CredentialsFactory] = CredentialsFactory
    password_change: type[PasswordChangeFactory] = PasswordChangeFactory
    deactivation: type[DeactivationFactory] = DeactivationFactory
    user: type[UserFactory] = UserFactory


@dataclass(frozen=True)
class Person:
    """One who signed up and holds a token."""

    id: str
    email: str
    password: str
    headers: dict[str, str]


@pytest.fixture(scope="session")
def make() -> Factories:
    return Factories()


@pytest.fixture(scope="session")
def body() -> Callable[[msgspec.Struct], Any]:
    """Turn a request into what is sent."""
    return msgspec.to_builtins


def signed_up(service: Service) -> Person:
    """Sign somebody up and in."""
    request = SignUpFactory.build()
    created = service.client.post("/api/users", json=msgspec.to_builtins(request))
    assert created.status_code == 201, created.text
    answer = service.client.post("/api/auth/token", json=msgspec.to_builtins(request))
    assert answer.status_code == 200, answer.text
    return Person(
        id=created.json()["id"],
        email=request.email,
        password=request.password,
        headers={"Authorization": f"Bearer {answer.json()['access_token']}"},
    )


@pytest.fixture(scope="session")
def sign_up() -> Callable[[Service], Person]:
    return signed_up
