"""Orders when accounts denies a user or is unavailable."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from starkeel_testing import Service, running, wait_until

PLACEMENT = {"product_type": "oak-plank", "quantity": 1}


def test_a_deactivated_user_can_neither_read_nor_place_orders(
    service: Service, accounts: Service, new_person: Callable[[], Any]
) -> None:
    person = new_person()
    placed = service.client.post("/api/orders", json=PLACEMENT, headers=person.placing)
    assert placed.status_code == 201
    deactivated = accounts.client.request(
        "DELETE", "/api/users/me", headers=person.headers, json={"password": person.password}
    )
    assert deactivated.status_code == 204

    # Before the list of ended sessions has been fetched, accounts denies the user.
    response = service.client.post("/api/orders", json=PLACEMENT, headers=person.placing)

    assert response.status_code in {401, 403}
    assert response.headers["content-type"].startswith("application/problem+json")
    wait_until(
        lambda: service.client.get(placed.headers["location"], headers=person.headers).status_code == 401,
        what="orders to reject the token",
    )
    assert service.client.post("/api/orders", json=PLACEMENT, headers=person.placing).status_code == 401


def test_without_accounts_orders_can_be_read_but_not_placed(
    accounts_env: dict[str, str],
    orders_env: Callable[[Service], dict[str, str]],
    sign_up: Callable[[Service], Any],
) -> None:
    with ExitStack() as stack:
        accounts = stack.enter_context(running("accounts", accounts_env))
        service = stack.enter_context(running("orders", orders_env(accounts)))
        ada = sign_up(accounts)
        placed = service.client.post("/api/orders", json=PLACEMENT, headers=ada.placing)
        assert placed.status_code == 201
        assert accounts.terminate() == 0

        rejected = service.client.post("/api/orders", json=PLACEMENT, headers=ada.placing)

        assert rejected.status_code == 503
        assert rejected.headers["content-type"].startswith("application/problem+json")
        assert int(rejected.headers["retry-after"]) >= 1
        assert accounts.url not in rejected.text
        listed = service.client.get("/api/orders", headers=ada.headers)
        assert [order["id"] for order in listed.json()["items"]] == [placed.json()["id"]]
        assert service.client.get("/health/ready").status_code == 200


def test_trace_and_request_id_are_passed_to_accounts(
    service: Service, accounts: Service, new_person: Callable[[], Any]
) -> None:
    person = new_person()
    trace_id, request_id = "4bf92f3577b34da6a3ce929d0e0e4736", f"propagated-{person.id}"
    headers = person.placing | {
        "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01",
        "X-Request-ID": request_id,
    }

    response = service.client.post("/api/orders", json=PLACEMENT, headers=headers)

    assert response.headers["x-request-id"] == request_id
    line = service.wait_for_log("order created", order_id=response.json()["id"])
    assert (line["trace_id"], line["request_id"]) == (trace_id, request_id)
    assert (
        accounts.wait_for_log_where(lambda line: line.get("request_id") == request_id)["trace_id"] == trace_id
    )


@pytest.fixture
def sign_up(sign_up_at: Callable[[Service], Any]) -> Callable[[Service], Any]:
    return sign_up_at
