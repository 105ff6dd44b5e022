"""Rate limits of reads and changes, per user."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from starkeel_testing import Service, running
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect


def test_reads_and_streams_of_a_user_are_limited_together(
    accounts: Service, orders_env: Callable[[Service], dict[str, str]], new_person: Callable[[], Any]
) -> None:
    ada, bob = new_person(), new_person()
    with running("orders", orders_env(accounts) | {"RATE_LIMIT_ORDER_READING": "3/hour"}) as service:
        for _ in range(2):
            assert service.client.get("/api/orders", headers=ada.headers).status_code == 200
        with service.client.stream("GET", "/api/orders/events", headers=ada.headers) as response:
            assert response.status_code == 200

        assert service.client.get("/api/orders/events", headers=ada.headers).status_code == 429
        refused = service.client.get("/api/orders", headers=ada.headers)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        url = f"{service.url.replace('http', 'ws')}/api/orders/live"
        with pytest.raises((InvalidStatus, ConnectionClosed)):
            connect(url, additional_headers=ada.headers).recv(timeout=20)
        assert service.client.get("/api/orders", headers=bob.headers).status_code == 200


@pytest.mark.parametrize("change", ["patch", "cancel"])
def test_changes_of_a_user_are_limited(
    accounts: Service,
    orders_env: Callable[[Service], dict[str, str]],
    new_person: Callable[[], Any],
    change: str,
) -> None:
    ada = new_person()
    path = "/api/orders/01890000-0000-7000-8000-000000000000"

    def send(client: httpx2.Client) -> int:
        if change == "cancel":
            return client.post(f"{path}/cancel", headers=ada.headers).status_code
        headers = ada.headers | {"If-Match": '"1"'}
        return client.patch(path, json={"quantity": 1}, headers=headers).status_code

    with running("orders", orders_env(accounts) | {"RATE_LIMIT_ORDER_CHANGES": "2/hour"}) as service:
        assert [send(service.client) for _ in range(3)] == [404, 404, 429]


def test_streams_of_a_user_are_limited(
    accounts: Service, orders_env: Callable[[Service], dict[str, str]], new_person: Callable[[], Any]
) -> None:
    ada = new_person()
    with (
        running("orders", orders_env(accounts) | {"MAX_STREAMS_PER_USER": "1"}) as service,
        httpx2.Client(base_url=service.url, timeout=20) as client,
        client.stream("GET", "/api/orders/events", headers=ada.headers) as response,
    ):
        assert response.status_code == 200
        refused = service.client.get("/api/orders/events", headers=ada.headers)
        assert refused.status_code == 429
        assert refused.headers["content-type"].startswith("application/problem+json")
