"""The relay of order events with a Redis that fails over, hangs, or accepts no writes."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx2
import pytest
from starkeel_testing import OwnRedis, Service, TcpForwarder, running, running_redis, wait_until

PASSWORD = "same-for-all-servers"
PLACEMENT = {"product_type": "oak-plank", "quantity": 1}
STREAM = "events:orders"


@pytest.fixture
def servers() -> Iterator[tuple[OwnRedis, OwnRedis]]:
    """Run a primary and a server that can take its place."""
    with running_redis(password=PASSWORD) as first, running_redis(password=PASSWORD) as second:
        yield first, second


@pytest.fixture
def forwarder() -> Iterator[TcpForwarder]:
    with closing(TcpForwarder(None)) as forwarder:
        yield forwarder


@pytest.fixture
def run_orders(accounts: Service, orders_env: Callable[[Service], dict[str, str]]) -> Callable[[str], Any]:
    return lambda url: running("orders", orders_env(accounts) | {"BROKER_URL": url})


def _place(service: Service, person: Any) -> str:
    with httpx2.Client(base_url=service.url, timeout=20) as client:
        response = client.post("/api/orders", json=PLACEMENT, headers=person.placing)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def _orders(server: OwnRedis) -> list[str]:
    """Return the ids of the orders in the stream."""
    entries = server.execute("XRANGE", STREAM, "-", "+")
    return [json.loads(fields["event"])["data"]["id"] for _, fields in entries]


def test_events_reach_the_new_primary_after_a_planned_failover(
    run_orders: Any,
    servers: tuple[OwnRedis, OwnRedis],
    forwarder: TcpForwarder,
    new_person: Callable[[], Any],
) -> None:
    first, second = servers
    forwarder.target = first.port
    ada = new_person()
    with run_orders(forwarder.url(first.url)) as service:
        placed = [_place(service, ada)]
        wait_until(lambda: first.execute("XLEN", STREAM) == 1)
        first.execute("REPLICAOF", "127.0.0.1", second.port)
        placed.append(_place(service, ada))
        service.wait_for_log("events not published")
        forwarder.target = second.port
        # Also the event before: another server may lack it.
        wait_until(lambda: _orders(second) == placed, what=lambda: str(_orders(second)))
        wait_until(lambda: service.metric("outbox_pending") == 0, timeout_s=20)


def test_events_reach_the_new_primary_after_the_old_one_has_hung(
    run_orders: Any,
    servers: tuple[OwnRedis, OwnRedis],
    forwarder: TcpForwarder,
    new_person: Callable[[], Any],
) -> None:
    first, second = servers
    forwarder.target = first.port
    ada = new_person()
    with run_orders(forwarder.url(first.url)) as service:
        placed = [_place(service, ada)]
        wait_until(lambda: first.execute("XLEN", STREAM) == 1)
        first.pause()
        forwarder.target = second.port
        placed.append(_place(service, ada))
        wait_until(lambda: _orders(second) == placed, what=lambda: str(_orders(second)))
        service.wait_for_log("broker changed")


def test_events_wait_while_redis_accepts_no_writes(
    run_orders: Any, own_redis: OwnRedis, new_person: Callable[[], Any]
) -> None:
    own_redis.execute("CONFIG", "SET", "min-replicas-to-write", 1)
    ada = new_person()
    with run_orders(own_redis.url) as service:
        _place(service, ada)
        failed = service.wait_for_log("events not published")
        assert "NOREPLICAS" in failed["reason"]
        wait_until(lambda: service.metric("outbox_failures_total", reason="away") >= 10)
        assert service.metric("outbox_dead_letters") == 0
        own_redis.execute("CONFIG", "SET", "min-replicas-to-write", 0)
        wait_until(lambda: own_redis.execute("XLEN", STREAM) == 1, timeout_s=4)
