"""The factories create valid objects, so a test passes only the values that matter."""

from typing import Any

import msgspec
import pytest
from orders import schemas
from orders.orders import Order
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

REQUESTS = ["placement", "change"]


@pytest.mark.parametrize("name", [*REQUESTS, "view", "event"])
def test_an_object_is_valid(make: Any, body: Any, name: str) -> None:
    for made in getattr(make, name).batch(20):
        assert msgspec.json.decode(msgspec.json.encode(made), type=type(made)) == made


def test_every_request_has_a_factory(make: Any) -> None:
    requests = {
        kind
        for kind in vars(schemas).values()
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and kind.__struct_config__.forbid_unknown_fields
    }

    assert {getattr(make, name).__model__ for name in REQUESTS} == requests


def test_orders_can_be_stored(make: Any) -> None:
    engine = create_engine("sqlite://")
    Order.__table__.create(engine)  # type: ignore[attr-defined]  # a Table, which has it
    with Session(engine) as session:
        session.add_all(make.order.batch(20))
        session.flush()
        assert session.query(Order).count() == 20
    engine.dispose()
