"""A running accounts, a running orders with each database, factories for requests, and users."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import msgspec
import pytest
from orders.orders import Order
from orders.schemas import Change, OrderEvent, OrderView, Placement
from polyfactory import Use
from polyfactory.factories.msgspec_factory import MsgspecFactory
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory
from starkeel_auth import SigningKeys, generate_private_key_pem
from starkeel_testing import Service, running

ISSUER = {"JWT_ISSUER": "https://accounts.example.com", "JWT_AUDIENCE": "shop"}
# All requests come from one address, and few users place all the orders.
NO_LIMIT = "10000/minute"
PRODUCTS = ("oak-plank", "brass-hinge", "copper-nail", "linen-sail")


class PlacementFactory(MsgspecFactory[Placement]):
    __random_seed__ = 7

    @classmethod
    def product_type(cls) -> str:
        return cls.__random__.choice(PRODUCTS)

    @classmethod
    def quantity(cls) -> int:
        return cls.__random__.randint(1, 1_000_000)


class ChangeFactory(MsgspecFactory[Change]):
    __random_seed__ = 7

    @classmethod
    def quantity(cls) -> int:
        return cls.__random__.randint(1, 1_000_000)


class OrderViewFactory(MsgspecFactory[OrderView]):
    __random_seed__ = 7


class OrderEventFactory(MsgspecFactory[OrderEvent]):
    __random_seed__ = 7
    order = OrderViewFactory


class OrderFactory(SQLAlchemyFactory[Order]):
    __random_seed__ = 7
    status = "open"
    version = 1
    product_type = Use(lambda: PRODUCTS[0])

    @classmethod
    def quantity(cls) -> int:
        return cls.__random__.randint(1, 1_000_000)


@dataclass(frozen=True)
class Factories:
    """Factories of requests, rows and events with arbitrary values; a test passes the values that matter."""

    placement: type[PlacementFactory] = PlacementFactory
    change: type[ChangeFactory] = ChangeFactory
    view: type[OrderViewFactory] = OrderViewFactory
    event: type[OrderEventFactory] = OrderEventFactory
    order: type[OrderFactory] = OrderFactory


@pytest.fixture(scope="session")
def make() -> Factories:
    return Factories()


@pytest.fixture(scope="session")
def body() -> Callable[[msgspec.Struct], Any]:
    """Return the JSON body of a request."""
    return msgspec.to_builtins


@dataclass(frozen=True)
class Person:
    """A user registered at accounts, with an access token."""

    id: str
    email: str
    password: str
    token: str
    refresh_token: str

    @property
    def session_id(self) -> str:
        return str(jwt.decode(self.token, options={"verify_signature": False})["sid"])

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def placing(self) -> dict[str, str]:
        """Headers for a new order, with an unused idempotency key."""
        return self.headers | {"Idempotency-Key": f'"{uuid4()}"'}


def _sign_up(accounts: Service) -> Person:
    """Register a user and sign in."""
    credentials = {"email": f"{uuid4().hex}@example.com", "password": "a wagon full of clocks"}
    created = accounts.client.post("/api/users", json=credentials)
    assert created.status_code == 201, created.text
    tokens = accounts.client.post("/api/auth/token", json=credentials).json()
    return Person(
        id=created.json()["id"],
        token=tokens["access_token"],
        refresh_token=tokens["refresh_token"],
        **credentials,
    )


@pytest.fixture(scope="session")
def signing_pem() -> str:
    """Private key of the running accounts."""
    return generate_private_key_pem()


def accounts_settings(database: Path, pem: str) -> dict[str, str]:
    return {
        "DATABASE_URL": f"sqlite:///{database}",
        "JWT_PRIVATE_KEY": pem,
        "RATE_LIMIT_SIGN_UP": NO_LIMIT,
        "RATE_LIMIT_TOKEN": NO_LIMIT,
        "RATE_LIMIT_SIGN_IN_ACCOUNT": NO_LIMIT,
        "RATE_LIMIT_REFRESH": NO_LIMIT,
        "RATE_LIMIT_PASSWORD": NO_LIMIT,
        "RATE_LIMIT_PROFILE": NO_LIMIT,
        **ISSUER,
    }


def orders_settings(database_url: str, accounts: Service) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "ACCOUNTS_URL": accounts.url,
        "JWT_JWKS_URL": f"{accounts.url}/.well-known/jwks.json",
        "JWT_REVOCATIONS_URL": f"{accounts.url}/.well-known/revocations",
        "JWT_REVOCATIONS_INTERVAL_SECONDS": "1",
        "RATE_LIMIT_ORDER_CREATION": NO_LIMIT,
        "RATE_LIMIT_ORDER_READING": NO_LIMIT,
        "RATE_LIMIT_ORDER_CHANGES": NO_LIMIT,
        **ISSUER,
    }


@pytest.fixture(scope="session")
def accounts_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of the shared accounts' database."""
    return tmp_path_factory.mktemp("accounts") / "accounts.db"


@pytest.fixture(scope="session")
def accounts(accounts_database: Path, signing_pem: str) -> Iterator[Service]:
    """A running accounts for all tests."""
    with running("accounts", accounts_settings(accounts_database, signing_pem)) as service:
        yield service


@pytest.fixture(scope="session")
def _started(accounts: Service) -> Iterator[Callable[[Callable[[], str]], Service]]:
    """Start orders once with each kind of database; it runs until the end of the run."""
    with ExitStack() as stack:

        @cache
        def start(database: Callable[[], str]) -> Service:
            return stack.enter_context(running("orders", orders_settings(database(), accounts)))

        yield start


@pytest.fixture(scope="session")
def service(session_database: Callable[[], str], _started: Callable[[Callable[[], str]], Service]) -> Service:
    """A running orders for all tests: once with SQLite, once with PostgreSQL."""
    return _started(session_database)


@pytest.fixture
def accounts_env(tmp_path: Path, signing_pem: str) -> dict[str, str]:
    """Environment of an accounts for one test."""
    return accounts_settings(tmp_path / "accounts.db", signing_pem)


@pytest.fixture
def orders_env(tmp_path: Path) -> Callable[[Service], dict[str, str]]:
    """Environment of an orders for one test, which uses the given accounts."""
    return lambda accounts: orders_settings(f"sqlite:///{tmp_path}/orders.db", accounts)


@pytest.fixture(scope="session")
def env_of(accounts: Service) -> Callable[[str], dict[str, str]]:
    """Return the environment of an orders with a database, which uses the shared accounts."""
    return lambda database_url: orders_settings(database_url, accounts)


@pytest.fixture(scope="session")
def sign_up_at() -> Callable[[Service], Person]:
    return _sign_up


@pytest.fixture(scope="session")
def new_person(accounts: Service) -> Callable[[], Person]:
    """Register users at the shared accounts."""
    return lambda: _sign_up(accounts)


@pytest.fixture(scope="session")
def ada(accounts: Service) -> Person:
    return _sign_up(accounts)


@pytest.fixture(scope="session")
def bob(accounts: Service) -> Person:
    return _sign_up(accounts)


@pytest.fixture
def fresh(accounts: Service) -> Person:
    """A user without orders."""
    return _sign_up(accounts)


@pytest.fixture(scope="session")
def forged(signing_pem: str) -> Callable[..., str]:
    """Sign a token with one flaw, or without a flaw for `none`."""
    keys = SigningKeys.from_pem(signing_pem)

    def forge(
        flaw: str, *, sub: str = "", lifetime_s: int = 600, scope: str = "orders:read orders:write"
    ) -> str:
        if flaw == "garbage":
            return "x.y.z"
        now = int(time.time())
        claims = {
            "iss": ISSUER["JWT_ISSUER"],
            "sub": sub or str(uuid4()),
            "aud": "other" if flaw == "other audience" else ISSUER["JWT_AUDIENCE"],
            "iat": now - 7200 if flaw == "expired" else now,
            "exp": now - 3600 if flaw == "expired" else now + lifetime_s,
            "jti": str(uuid4()),
            "scope": scope,
        }
        assert flaw in {"none", "expired", "other audience", "other key"}, flaw
        signer = SigningKeys.from_pem(generate_private_key_pem()) if flaw == "other key" else keys
        return signer.sign(claims)

    return forge
