"""The operations of orders: a row for each in both tables."""

from collections.abc import Mapping
from uuid import uuid4

import httpx2

from tests.support.api_cases import CALLER, of_scope

ACCESS = {
    "post /api/orders": of_scope(201),
    "get /api/orders": of_scope(200),
    "get /api/orders/{order_id}": of_scope(200, stranger=404),
    "patch /api/orders/{order_id}": of_scope(200, stranger=404),
    "post /api/orders/{order_id}/cancel": of_scope(200, stranger=404),
    "get /api/orders/events": of_scope(200),
}

EXAMPLES = {
    "post /api/orders 201": CALLER,
    "get /api/orders 200": CALLER,
    "get /api/orders/{order_id} 200": CALLER,
    "patch /api/orders/{order_id} 200": CALLER,
    "post /api/orders/{order_id}/cancel 200": CALLER,
    "get /api/orders/events 200": CALLER,
}


def values(client: httpx2.Client, headers: Mapping[str, str]) -> Mapping[str, str]:
    """Place an order."""
    body = {"product_type": "oak-plank", "quantity": 3}
    placed = client.post("/api/orders", json=body, headers={**headers, "Idempotency-Key": str(uuid4())})
    assert placed.status_code == 201, placed.text
    return {"order_id": placed.json()["id"]}
