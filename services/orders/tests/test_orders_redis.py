"""Several workers and Redis: one limit, and every listener told by every process."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starkeel_testing import Service, running

PLACEMENT = {"product_type": "oak-plank", "quantity": 1}


@pytest.fixture
def shared_env(
    accounts: Service, orders_env: Callable[[Service], dict[str, str]], redis_url: str
) -> dict[str, str]:
    return orders_env(accounts) | {"WORKERS": "2", "REDIS_URL": redis_url}


def test_a_client_of_one_worker_sees_orders_placed_at_another(
    shared_env: dict[str, str], new_person: Callable[[], Any]
) -> None:
    ada = new_person()
    with running("orders", shared_env) as service, httpx.Client(base_url=service.url, timeout=20) as client:
        # Every connection may be another worker's: several listeners and several orders meet both.
        streams = [client.stream("GET", "/api/orders/events", headers=ada.headers) for _ in range(4)]
        responses = [stream.__enter__() for stream in streams]
        try:
            placed = [_place(service, ada) for _ in range(4)]
            for response in responses:
                assert sorted(_events(response, 4)) == sorted(placed)
        finally:
            for stream in streams:
                stream.__exit__(None, None, None)


def test_what_was_missed_outlives_the_process(
    shared_env: dict[str, str], new_person: Callable[[], Any]
) -> None:
    ada = new_person()
    with running("orders", shared_env) as service:
        first, second = _place(service, ada), _place(service, ada)

    with running("orders", shared_env) as service, httpx.Client(base_url=service.url, timeout=20) as client:
        headers = ada.headers | {"Last-Event-ID": f"{first}:1"}
        with client.stream("GET", "/api/orders/events", headers=headers) as response:
            assert _events(response, 1) == [second]


def test_workers_share_a_users_limit(shared_env: dict[str, str], new_person: Callable[[], Any]) -> None:
    ada, bob = new_person(), new_person()
    with running("orders", shared_env | {"RATE_LIMIT_ORDER_CREATION": "6/hour"}) as service:
        statuses = [_try_to_place(service, ada).status_code for _ in range(8)]
        assert statuses == [201] * 6 + [429] * 2
        refused = _try_to_place(service, ada)
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["content-type"].startswith("application/problem+json")
        assert _try_to_place(service, bob).status_code == 201


def test_orders_are_taken_while_redis_is_away(
    accounts: Service,
    orders_env: Callable[[Service], dict[str, str]],
    free_port: int,
    new_person: Callable[[], Any],
) -> None:
    ada = new_person()
    env = orders_env(accounts) | {"REDIS_URL": f"redis://127.0.0.1:{free_port}/0"}
    with running("orders", env) as service:
        assert _try_to_place(service, ada).status_code == 201
        service.wait_for_log("order event not published")
        watched = service.client.get("/api/orders/events", headers=ada.headers)
        assert watched.status_code == 503
        assert watched.headers["content-type"].startswith("application/problem+json")


def _try_to_place(service: Service, person: Any) -> httpx.Response:
    # A connection each, so that every worker is asked.
    with httpx.Client(base_url=service.url, timeout=20) as client:
        return client.post("/api/orders", json=PLACEMENT, headers=person.placing)


def _place(service: Service, person: Any) -> str:
    answer = _try_to_place(service, person)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def _events(response: httpx.Response, count: int) -> list[str]:
    assert response.status_code == 200
    seen: list[str] = []
    for line in response.iter_lines():
        if line.startswith("data: "):
            seen.append(json.loads(line[6:])["id"])
        if len(seen) == count:
            break
    return seen
