"""A running accounts and depot, factories for requests and rows, and users."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from depot.crates import Crate
from depot.schemas import CrateChange, CrateCreation, CrateView
from polyfactory.factories.msgspec_factory import MsgspecFactory
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory
from starkeel_auth import SigningKeys, generate_private_key_pem
from starkeel_testing import Service, running

ISSUER = {"JWT_ISSUER": "https://accounts.example.com", "JWT_AUDIENCE": "shop"}
# All requests come from one address and a few users.
NO_LIMIT = "10000/minute"
NAMES = ("oak-plank", "brass-hinge", "copper-nail", "linen-sail")


class CreationFactory(MsgspecFactory[CrateCreation]):
    __random_seed__ = 7

    @classmethod
    def name(cls) -> str:
        return cls.__random__.choice(NAMES)

    @classmethod
    def quantity(cls) -> int:
        return cls.__random__.randint(0, 1_000_000)


# template if database
class ChangeFactory(MsgspecFactory[CrateChange]):
    __random_seed__ = 7

    @classmethod
    def quantity(cls) -> int:
        return cls.__random__.randint(0, 1_000_000)


class ViewFactory(MsgspecFactory[CrateView]):
    __random_seed__ = 7


class RowFactory(SQLAlchemyFactory[Crate]):
    __random_seed__ = 7
    version = 1

    @classmethod
    def name(cls) -> str:
        return cls.__random__.choice(NAMES)

    @classmethod
    def quantity(cls) -> int:
        return cls.__random__.randint(0, 1_000_000)


# template end
@dataclass(frozen=True)
class Factories:
    """Factories with arbitrary values; a test passes the values that matter."""

    creation: type[CreationFactory] = CreationFactory
    # template if database
    change: type[ChangeFactory] = ChangeFactory
    view: type[ViewFactory] = ViewFactory
    row: type[RowFactory] = RowFactory
    # template end


@pytest.fixture(scope="session")
def make() -> Factories:
    return Factories()


@pytest.fixture(scope="session")
def body() -> Callable[[msgspec.Struct], Any]:
    """Return the JSON body of a request."""
    return msgspec.to_builtins


@pytest.fixture(scope="session")
def signing_pem() -> str:
    """Private key of the running accounts."""
    return generate_private_key_pem()


@pytest.fixture(scope="session")
def token(signing_pem: str) -> Callable[..., str]:
    """Sign an access token of a user, with one flaw if one is given."""
    keys = SigningKeys.from_pem(signing_pem)

    def sign(sub: str, *, scope: str = "depot:read depot:write", flaw: str = "") -> str:
        if flaw == "garbage":
            return "x.y.z"
        assert flaw in {"", "expired", "other audience", "other key"}, flaw
        now = int(time.time())
        claims = {
            "iss": ISSUER["JWT_ISSUER"],
            "sub": sub,
            "aud": "other" if flaw == "other audience" else ISSUER["JWT_AUDIENCE"],
            "client_id": "accounts",
            "iat": now - 7200 if flaw == "expired" else now,
            "exp": now - 3600 if flaw == "expired" else now + 36_000,
            "jti": str(uuid4()),
            "scope": scope,
        }
        signer = SigningKeys.from_pem(generate_private_key_pem()) if flaw == "other key" else keys
        return signer.sign(claims)

    return sign


@dataclass(frozen=True)
class Person:
    """A user registered at accounts, with an access token."""

    id: str
    password: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def creating(self) -> dict[str, str]:
        """Headers with an unused idempotency key."""
        return self.headers | {"Idempotency-Key": str(uuid4())}


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory, signing_pem: str) -> Iterator[Service]:
    """A running accounts, which issues tokens, for all tests."""
    database = tmp_path_factory.mktemp("accounts") / "accounts.db"
    env = {"DATABASE_URL": f"sqlite:///{database}", "JWT_PRIVATE_KEY": signing_pem, **ISSUER}
    env |= dict.fromkeys(("RATE_LIMIT_SIGN_UP", "RATE_LIMIT_PROFILE"), NO_LIMIT)
    with running("accounts", env) as service:
        yield service


@pytest.fixture(scope="session")
def new_person(issuer: Service, token: Callable[..., str]) -> Callable[[], Person]:
    """Register users."""

    def register() -> Person:
        credentials = {"email": f"{uuid4().hex}@example.com", "password": f"quiet lighthouse {uuid4().hex}"}
        created = issuer.client.post("/api/users", json=credentials)
        assert created.status_code == 201, created.text
        user_id = created.json()["id"]
        return Person(id=user_id, password=credentials["password"], token=token(user_id))

    return register


@pytest.fixture(scope="session")
def ada(new_person: Callable[[], Person]) -> Person:
    return new_person()


@pytest.fixture(scope="session")
def bob(new_person: Callable[[], Person]) -> Person:
    return new_person()


@pytest.fixture
def fresh(new_person: Callable[[], Person]) -> Person:
    """A user with nothing stored."""
    return new_person()


def settings(issuer: Service) -> dict[str, str]:
    return {
        "JWT_JWKS_URL": f"{issuer.url}/.well-known/jwks.json",
        "JWT_REVOCATIONS_URL": f"{issuer.url}/.well-known/revocations",
        # template if database
        "RATE_LIMIT_DEPOT_CREATION": NO_LIMIT,
        "RATE_LIMIT_DEPOT_CHANGES": NO_LIMIT,
        # template end
        "RATE_LIMIT_DEPOT_READING": NO_LIMIT,
        # template each call
        "ACCOUNTS_URL": issuer.url,
        # template end
        **ISSUER,
    }


@pytest.fixture(scope="session")
def service(
    issuer: Service,
    # template if database
    session_database: Callable[[], str],
    # template end
) -> Iterator[Service]:
    """A running depot for all tests."""
    own: dict[str, str] = {
        # template if database
        # Once with SQLite, once with PostgreSQL.
        "DATABASE_URL": session_database(),
        # template end
    }
    with running("depot", settings(issuer) | own) as service:
        yield service


@pytest.fixture
def env(issuer: Service, tmp_path: Path) -> dict[str, str]:
    """Environment of a depot for one test."""
    return {
        **settings(issuer),
        # template if database
        "DATABASE_URL": f"sqlite:///{tmp_path}/depot.db",
        # template end
    }
