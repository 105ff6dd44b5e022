"""Orders while another process changes its tables."""

from collections.abc import Iterator
from uuid import uuid4

import httpx2
import pytest
from starkeel_testing import Service

from ...support.orders import Customer
from ...support.postgres import execute

pytestmark = [pytest.mark.needs_postgres, pytest.mark.timeout(240)]

WIDEN = "ALTER TABLE orders ALTER COLUMN quantity TYPE bigint"
NARROW = "ALTER TABLE orders ALTER COLUMN quantity TYPE integer"


@pytest.fixture
def orders(customer: Customer, postgres_url: str) -> Iterator[Service]:
    """Orders with one connection, whose statements are prepared."""
    one = {"DB_MAX_CONNECTIONS": "1", "DB_MIN_CONNECTIONS": "1"}
    with customer.running_orders(postgres_url, **one) as service:
        yield service


def test_a_changed_table_fails_no_request(customer: Customer, orders: Service, postgres_url: str) -> None:
    placed = customer.place(orders.client)
    url = f"/api/orders/{placed.json()['id']}"

    def change(quantity: int) -> httpx2.Response:
        headers = customer.headers | {"If-Match": "*"}
        return orders.client.patch(url, json={"quantity": quantity}, headers=headers)

    def all_routes(quantity: int) -> list[int]:
        """Use every statement of the service on one connection."""
        return [
            customer.place(orders.client, uuid4().hex).status_code,
            change(quantity).status_code,
            customer.latest(orders.client).status_code,
            orders.client.get(url, headers=customer.headers).status_code,
        ]

    expected = [201, 200, 200, 200]
    assert [all_routes(quantity) for quantity in (2, 3, 4)] == [expected] * 3
    # The first route after each change is another one.
    execute(postgres_url, WIDEN)
    assert change(5).status_code == 200
    execute(postgres_url, NARROW)
    assert customer.latest(orders.client).status_code == 200
    execute(postgres_url, WIDEN)
    assert all_routes(6) == expected
    execute(postgres_url, "ALTER TABLE idempotency_keys ADD COLUMN extra integer", NARROW)
    assert all_routes(7) == expected

    assert orders.client.get(url, headers=customer.headers).json()["quantity"] == 7
    lines = orders.logs()
    assert not [line for line in lines if line["level"] == "error"]
    assert not [line for line in lines if line["message"] == "database unavailable"]
    healed = [line for line in lines if line["message"] == "prepared statements invalidated"]
    assert healed
    assert all("cached" in line["reason"] for line in healed)
