"""A running accounts, and orders on each database, for the tests to talk to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from orders.events import OrderEvent
from orders.messages import Change, OrderView, Placement
from orders.orders import Order
from polyfactory import Use
from polyfactory.factories.msgspec_factory import MsgspecFactory
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory
from starkeel_testing import Service

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


@dataclass(frozen=True)
class Factories:
    """Requests, rows and events with values that do not matter; name those that do."""

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
    """Turn a request into what is sent."""
    return msgspec.to_builtins


@dataclass(frozen=True)
class Person:
    """One who signed up at accounts, and holds a token."""

    id: str
    email: str
    password: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def signed_up(accounts: Service) -> Person:
    """Sign somebody up and in."""
    credentials = {"email": f"{uuid4().hex}@example.com", "password": "a wagon full of clocks"}
    created = accounts.client.post("/api/users", json=credentials)
    assert created.status_code == 201, created.text
    token = accounts.client.post("/api/auth/token", json=credentials).json()["access_token"]
    return Person(id=created.json()["id"], token=token, **credentials)
