"""Several workers with and without Redis: shared limits, and events of all processes."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import redis
from starkeel_testing import Service, running, wait_until

PLACEMENT = {"product_type": "oak-plank", "quantity": 1}


@pytest.fixture
def shared_env(
    accounts: Service, orders_env: Callable[[Service], dict[str, str]], redis_url: str
) -> dict[str, str]:
    return orders_env(accounts) | {"WORKERS": "2", "REDIS_URL": redis_url, "BROKER_URL": redis_url}


@pytest.fixture(params=["alone", "redis"])
def workers_env(
    request: pytest.FixtureRequest,
    accounts: Service,
    orders_env: Callable[[Service], dict[str, str]],
    database_url: str,
) -> dict[str, str]:
    """Environment of two workers, with and without Redis, with each database."""
    env = orders_env(accounts) | {"WORKERS": "2", "DATABASE_URL": database_url}
    if request.param == "redis":
        env["REDIS_URL"] = env["BROKER_URL"] = request.getfixturevalue("redis_url")
    return env


def test_a_client_of_one_worker_receives_events_of_another(
    workers_env: dict[str, str], new_person: Callable[[], Any]
) -> None:
    ada = new_person()
    with running("orders", workers_env) as service, httpx2.Client(base_url=service.url, timeout=20) as client:
        # Connections are spread over the workers: with several streams and orders both workers have some.
        streams = [client.stream("GET", "/api/orders/events", headers=ada.headers) for _ in range(4)]
        responses = [stream.__enter__() for stream in streams]
        try:
            placed = [_place(service, ada) for _ in range(4)]
            for response in responses:
                assert [order_id for _, order_id in _events(response, 4)] == placed
        finally:
            for stream in streams:
                stream.__exit__(None, None, None)


def test_missed_events_are_available_after_a_restart(
    workers_env: dict[str, str], new_person: Callable[[], Any]
) -> None:
    ada = new_person()
    with running("orders", workers_env) as service, httpx2.Client(base_url=service.url, timeout=20) as client:
        with client.stream("GET", "/api/orders/events", headers=ada.headers) as response:
            first = _place(service, ada)
            [(last_event_id, order_id)] = _events(response, 1)
            assert order_id == first
        second = _place(service, ada)

    with running("orders", workers_env) as service, httpx2.Client(base_url=service.url, timeout=20) as client:
        headers = ada.headers | {"Last-Event-ID": last_event_id}
        with client.stream("GET", "/api/orders/events", headers=headers) as response:
            third = _place(service, ada)
            assert [order_id for _, order_id in _events(response, 2)] == [second, third]


def test_redis_receives_every_event_once_and_in_order(
    shared_env: dict[str, str], redis_url: str, new_person: Callable[[], Any]
) -> None:
    people = [new_person() for _ in range(3)]
    with running("orders", shared_env) as service, redis.Redis.from_url(redis_url) as stream:
        placed = {person.id: [_place(service, person) for _ in range(5)] for person in people}
        wait_until(lambda: stream.xlen("events:orders") >= 15, timeout_s=20)
        wait_until(lambda: service.metric("outbox_pending") == 0, timeout_s=20)
        events = [json.loads(fields[b"event"]) for _, fields in stream.xrange("events:orders")]

    assert len({event["id"] for event in events}) == len(events) == 15
    for user_id, order_ids in placed.items():
        mine = [event for event in events if event["partitionkey"] == user_id]
        assert [event["data"]["id"] for event in mine] == order_ids
        assert {event["type"] for event in mine} == {"order.created"}
        assert len({event["traceparent"] for event in mine}) == len(mine)


def test_workers_share_a_users_limit(shared_env: dict[str, str], new_person: Callable[[], Any]) -> None:
    ada, bob = new_person(), new_person()
    with running("orders", shared_env | {"RATE_LIMIT_ORDER_CREATION": "6/hour"}) as service:
        statuses = [_try_to_place(service, ada).status_code for _ in range(8)]
        assert statuses == [201] * 6 + [429] * 2
        rejected = _try_to_place(service, ada)
        assert int(rejected.headers["retry-after"]) >= 1
        assert rejected.headers["content-type"].startswith("application/problem+json")
        assert _try_to_place(service, bob).status_code == 201


def test_orders_and_live_events_work_while_redis_is_unavailable(
    accounts: Service,
    orders_env: Callable[[Service], dict[str, str]],
    free_port: int,
    new_person: Callable[[], Any],
) -> None:
    ada = new_person()
    env = orders_env(accounts) | {"BROKER_URL": f"redis://127.0.0.1:{free_port}/0"}
    with running("orders", env) as service, httpx2.Client(base_url=service.url, timeout=20) as client:
        with client.stream("GET", "/api/orders/events", headers=ada.headers) as response:
            placed = [_place(service, ada) for _ in range(2)]
            assert [order_id for _, order_id in _events(response, 2)] == placed
        service.wait_for_log("events not published")
        wait_until(lambda: service.metric("outbox_failures_total", reason="away") >= 3, timeout_s=20)
        logged = [line for line in service.logs() if line["message"] == "events not published"]
        assert len(logged) == 1


def _try_to_place(service: Service, person: Any) -> httpx2.Response:
    # One connection per request, so that every worker receives requests.
    with httpx2.Client(base_url=service.url, timeout=20) as client:
        return client.post("/api/orders", json=PLACEMENT, headers=person.placing)


def _place(service: Service, person: Any) -> str:
    response = _try_to_place(service, person)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def _events(response: httpx2.Response, count: int) -> list[tuple[str, str]]:
    """Read events and return the id of each and of its order."""
    assert response.status_code == 200
    received: list[tuple[str, str]] = []
    event_id = ""
    for line in response.iter_lines():
        if line.startswith("id: "):
            event_id = line[4:]
        if line.startswith("data: "):
            received.append((event_id, json.loads(line[6:])["id"]))
        if len(received) == count:
            break
    return received
