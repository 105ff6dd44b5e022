"""The operations of depot: a row for each in both tables."""

from collections.abc import Mapping
from uuid import uuid4

import httpx2

from tests.support.api_cases import CALLER, of_scope

ACCESS = {
    # template if database
    "post /api/depot/crates": of_scope(201),
    "get /api/depot/crates": of_scope(200),
    "get /api/depot/crates/{crate_id}": of_scope(200, stranger=404),
    "patch /api/depot/crates/{crate_id}": of_scope(200, stranger=404),
    "delete /api/depot/crates/{crate_id}": of_scope(204, stranger=404),
    "get /api/depot/events": of_scope(200),
    # template end
    # template if not database
    "post /api/depot/crates/preview": of_scope(200),
    # template end
}

EXAMPLES = {
    # template if database
    "post /api/depot/crates 201": CALLER,
    "get /api/depot/crates 200": CALLER,
    "get /api/depot/crates/{crate_id} 200": CALLER,
    "patch /api/depot/crates/{crate_id} 200": CALLER,
    "delete /api/depot/crates/{crate_id} 204": CALLER,
    "get /api/depot/events 200": CALLER,
    # template end
    # template if not database
    "post /api/depot/crates/preview 200": CALLER,
    # template end
}


# template if database
def values(client: httpx2.Client, headers: Mapping[str, str]) -> Mapping[str, str]:
    """Create a crate."""
    body = {"name": "oak-plank", "quantity": 3}
    given = {**headers, "Idempotency-Key": str(uuid4())}
    created = client.post("/api/depot/crates", json=body, headers=given)
    assert created.status_code == 201, created.text
    return {"crate_id": created.json()["id"]}


# template end
