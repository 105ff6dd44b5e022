"""Events of accounts: the open orders of a user that is deactivated are cancelled."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from starkeel_testing import Service, running, wait_for_jobs, wait_until

PLACEMENT = {"product_type": "oak-plank", "quantity": 1}
JOB = "cancel_open_orders"


@pytest.fixture(params=["file", "redis"])
def broker_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "redis":
        return str(request.getfixturevalue("redis_url"))
    return f"sqlite:///{tmp_path}/broker.db"


@pytest.fixture
def publishing_accounts(accounts_env: dict[str, str], broker_url: str) -> Iterator[Service]:
    """An accounts that publishes its events."""
    with running("accounts", accounts_env | {"BROKER_URL": broker_url}) as service:
        yield service


@pytest.fixture
def env(
    publishing_accounts: Service,
    orders_env: Callable[[Service], dict[str, str]],
    database_url: str,
    broker_url: str,
) -> dict[str, str]:
    return orders_env(publishing_accounts) | {"DATABASE_URL": database_url, "BROKER_URL": broker_url}


def place(service: Service, person: Any) -> str:
    response = service.client.post("/api/orders", json=PLACEMENT, headers=person.placing)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def deactivate(accounts: Service, person: Any) -> None:
    response = accounts.client.request(
        "DELETE", "/api/users/me", json={"password": person.password}, headers=person.headers
    )
    assert response.status_code == 204, response.text


def cancellations(service: Service) -> list[dict[str, Any]]:
    """Return the log lines about cancelled orders."""
    return [line for line in service.logs() if line["message"] == "order cancelled"]


def test_the_open_orders_of_a_deactivated_user_are_cancelled(
    env: dict[str, str],
    publishing_accounts: Service,
    broker_url: str,
    sign_up_at: Callable[[Service], Any],
) -> None:
    ada, bob = sign_up_at(publishing_accounts), sign_up_at(publishing_accounts)
    with running("orders", env | {"WORKERS": "2"}) as service:
        placed = {place(service, ada) for _ in range(3)}
        earlier = placed.pop()
        assert service.client.post(f"/api/orders/{earlier}/cancel", headers=ada.headers).status_code == 200
        kept = place(service, bob)
        deactivate(publishing_accounts, ada)
        wait_for_jobs(env["DATABASE_URL"], JOB)
        cancelled = wait_until(lambda: lines[-3:] if len(lines := cancellations(service)) >= 3 else [])
        found = service.client.get(f"/api/orders/{kept}", headers=bob.headers).json()
        if broker_url.startswith("redis"):
            with redis.Redis.from_url(broker_url) as stream:
                events = [json.loads(fields[b"event"]) for _, fields in stream.xrange("events:orders")]
            last = [event for event in events if event["type"] == "order.cancelled"][-2:]
            assert {event["data"]["id"] for event in last} == placed

    assert {line["order_id"] for line in cancelled} == placed | {earlier}
    # Those of the event have the id of the request that deactivated the user.
    assert all(line["request_id"] for line in cancelled)
    assert found["status"] == "open"


def test_an_event_that_was_published_before_the_start_is_handled(
    env: dict[str, str], publishing_accounts: Service, sign_up_at: Callable[[Service], Any]
) -> None:
    ada = sign_up_at(publishing_accounts)
    with running("orders", env | {"RUN_WORKER": "false"}) as service:
        place(service, ada)
    deactivate(publishing_accounts, ada)
    with running("orders", env) as service:
        wait_for_jobs(env["DATABASE_URL"], JOB)
        service.wait_for_log("order cancelled")
        assert service.metric("consumer_received_total", topic="accounts") >= 1
