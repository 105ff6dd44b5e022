"""An order with a repeated idempotency key is placed once and gets the same response."""

import datetime
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from starkeel_testing import Service, running

PLACEMENT = {"product_type": "oak-plank", "quantity": 12}
SAME = ("content-type", "content-length", "etag", "location")


def test_the_same_request_gets_the_same_response(service: Service, fresh: Any) -> None:
    headers = fresh.placing
    before = service.metric("orders_created_total")

    first, second = (_place(service, headers) for _ in range(2))

    assert first.status_code == second.status_code == 201
    assert first.content == second.content
    assert [first.headers[name] for name in SAME] == [second.headers[name] for name in SAME]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert _placed(service, fresh) == [first.json()["id"]]
    assert service.metric("orders_created_total") == before + 1


def test_a_response_is_repeated_after_the_order_has_changed(service: Service, fresh: Any) -> None:
    headers = fresh.placing
    first = _place(service, headers)
    service.client.post(f"{first.headers['location']}/cancel", headers=fresh.headers)

    assert _place(service, headers).json() == first.json()


def test_a_key_of_another_request_is_rejected(service: Service, fresh: Any) -> None:
    headers = fresh.placing
    _place(service, headers)

    rejected = _place(service, headers, quantity=13)

    _is_problem(rejected, 422)
    assert len(_placed(service, fresh)) == 1


def test_a_key_is_required(service: Service, ada: Any) -> None:
    problem = _is_problem(_place(service, ada.headers), 400)

    assert "Idempotency-Key" in problem["detail"]


@pytest.mark.parametrize("key", ["", '"', '""', '"a', "a b", "a,b", '"a", "b"', "x" * 256])
def test_an_invalid_key_is_rejected(service: Service, ada: Any, key: str) -> None:
    problem = _is_problem(_place(service, ada.headers | {"Idempotency-Key": key}), 400)
    assert "Idempotency-Key" in problem["detail"]


def test_two_keys_are_rejected(service: Service, ada: Any) -> None:
    headers = [*ada.headers.items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]

    problem = _is_problem(service.client.post("/api/orders", json=PLACEMENT, headers=headers), 400)
    assert "Idempotency-Key" in problem["detail"]


def test_quotes_are_not_part_of_a_key(service: Service, fresh: Any) -> None:
    key = uuid4().hex
    bare = _place(service, fresh.headers | {"Idempotency-Key": key})
    quoted = _place(service, fresh.headers | {"Idempotency-Key": f'"{key}"'})

    assert bare.json() == quoted.json()


def test_keys_are_separate_for_each_user(service: Service, ada: Any, bob: Any) -> None:
    key = {"Idempotency-Key": uuid4().hex}

    mine, other = _place(service, ada.headers | key), _place(service, bob.headers | key)

    assert mine.status_code == other.status_code == 201
    assert mine.json()["id"] != other.json()["id"]


def test_an_error_is_not_stored(service: Service, fresh: Any) -> None:
    headers = fresh.placing
    _is_problem(_place(service, headers, quantity=0), 400)

    assert _place(service, headers).status_code == 201


def test_of_fifty_concurrent_requests_one_is_executed(
    accounts: Service,
    orders_env: Callable[[Service], dict[str, str]],
    database_url: str,
    new_person: Callable[[], Any],
) -> None:
    ada = new_person()
    env = orders_env(accounts) | {
        "DATABASE_URL": database_url,
        "WORKERS": "2",
        "RATE_LIMIT_ORDER_CREATION": "1000/minute",
    }
    with running("orders", env) as service:
        headers = ada.placing

        def place(_: int) -> httpx2.Response:
            # One connection per request, so that both workers receive requests.
            with httpx2.Client(base_url=service.url, timeout=30) as client:
                return client.post("/api/orders", json=PLACEMENT, headers=headers)

        with ThreadPoolExecutor(50) as pool:
            responses = list(pool.map(place, range(50)))

        created = {response.json()["id"] for response in responses if response.status_code == 201}
        rejected = [response for response in responses if response.status_code != 201]
        assert len(created) == 1
        assert _placed(service, ada) == list(created)
        for response in rejected:
            _is_problem(response, 409)
            assert int(response.headers["retry-after"]) >= 1
        assert _place(service, headers).json()["id"] in created


def test_a_key_expires(
    accounts: Service,
    orders_env: Callable[[Service], dict[str, str]],
    tmp_path: Path,
    new_person: Callable[[], Any],
) -> None:
    ada = new_person()
    with running("orders", orders_env(accounts) | {"IDEMPOTENCY_KEY_HOURS": "1"}) as service:
        headers = ada.placing
        first = _place(service, headers)
        with sqlite3.connect(tmp_path / "orders.db", timeout=10) as database:
            [(expires_at,)] = database.execute("SELECT expires_at FROM idempotency_keys")
            remaining = datetime.datetime.fromisoformat(expires_at) - datetime.datetime.now(
                datetime.UTC
            ).replace(tzinfo=None)
            assert datetime.timedelta(minutes=58) < remaining <= datetime.timedelta(hours=1)
            database.execute("UPDATE idempotency_keys SET expires_at = '2020-01-01 00:00:00.000000'")
        database.close()

        second = _place(service, headers)

        assert second.status_code == 201
        assert second.json()["id"] != first.json()["id"]
        assert _place(service, headers).json() == second.json()


def _place(service: Service, headers: dict[str, str], **changes: Any) -> httpx2.Response:
    return service.client.post("/api/orders", json=PLACEMENT | changes, headers=headers)


def _placed(service: Service, person: Any) -> list[str]:
    response = service.client.get("/api/orders", headers=person.headers)
    return [order["id"] for order in response.json()["items"]]


def _is_problem(response: httpx2.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
    problem: dict[str, Any] = response.json()
    return problem
