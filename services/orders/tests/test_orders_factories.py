"""What the factories make is valid: a test that names one value may rely on the others."""

from typing import Any

import msgspec
import pytest
from orders import messages
from orders.orders import Order
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

REQUESTS = ["placement", "change"]


@pytest.mark.parametrize("name", [*REQUESTS, "view", "event"])
def test_a_message_is_as_described(make: Any, body: Any, name: str) -> None:
    for message in getattr(make, name).batch(20):
        assert msgspec.json.decode(msgspec.json.encode(message), type=type(message)) == message


def test_there_is_one_for_every_request(make: Any) -> None:
    requests = {
        kind
        for kind in vars(messages).values()
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and kind.__struct_config__.forbid_unknown_fields
    }

    assert {getattr(make, name).__model__ for name in REQUESTS} == requests


def test_orders_can_be_kept(make: Any) -> None:
    engine = create_engine("sqlite://")
    Order.__table__.create(engine)  # type: ignore[attr-defined]  # a Table, which has it
    with Session(engine) as session:
        session.add_all(make.order.batch(20))
        session.flush()
        assert session.query(Order).count() == 20
    engine.dispose()
