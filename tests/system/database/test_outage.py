"""Orders during outages of its database."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import httpx2
import pytest
from starkeel_testing import OwnPostgres, Service, wait_until

from ...support.orders import Customer
from ...support.postgres import execute

pytestmark = [pytest.mark.needs_postgres, pytest.mark.timeout(240)]

ACQUIRE_S, REQUEST_S = 1.0, 5.0
CLIENTS = 8
POOL = 4
CLOSE_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'orders'"
SLACK_S = 5.0
"""Seconds that a busy test machine may add to a time."""


class Shop:
    """Orders on a private PostgreSQL, and its customer."""

    def __init__(self, customer: Customer, service: Service) -> None:
        self.service = service
        self._customer = customer

    def place(self) -> httpx2.Response:
        return self._customer.place(self.service.client)

    def read(self) -> httpx2.Response:
        return self._customer.latest(self.service.client)

    def ready(self) -> int:
        return self.service.client.get("/health/ready").status_code

    def check(self, name: str) -> str:
        return str(self.service.client.get("/health/ready").json()["checks"][name]["status"])

    def count(self, message: str) -> int:
        return sum(line["message"] == message for line in self.service.logs())


@pytest.fixture
def shop(customer: Customer, own_postgres: OwnPostgres) -> Iterator[Shop]:
    with customer.running_orders(
        own_postgres.url,
        DB_MAX_CONNECTIONS=str(POOL),
        DB_MIN_CONNECTIONS="1",
        DB_ACQUIRE_TIMEOUT_SECONDS=str(ACQUIRE_S),
        DB_STATEMENT_TIMEOUT_SECONDS="2",
        REQUEST_TIMEOUT_SECONDS=str(REQUEST_S),
        # A process that executes jobs keeps a connection, on which it is notified of them.
        RUN_WORKER="false",
    ) as service:
        shop = Shop(customer, service)
        assert shop.place().status_code == 201
        yield shop


@contextmanager
def stopped(server: OwnPostgres) -> Iterator[None]:
    server.stop()
    yield
    server.start()


@contextmanager
def killed(server: OwnPostgres) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def paused(server: OwnPostgres) -> Iterator[None]:
    server.pause()
    yield
    server.resume()


@contextmanager
def full(server: OwnPostgres) -> Iterator[None]:
    """Restart with few connections, all of them taken by other clients."""
    server.stop()
    server.start(max_connections="6", superuser_reserved_connections="0")
    loop = asyncio.new_event_loop()
    taken: list[Any] = []

    async def take() -> None:
        async with asyncio.timeout(30):
            while len(taken) < 6:
                try:
                    taken.append(await asyncpg.connect(server.url))
                except asyncpg.TooManyConnectionsError:
                    # The service has some of them: close those, and connect before it reconnects.
                    await taken[0].execute(CLOSE_OTHERS)

    try:
        loop.run_until_complete(take())
        yield
    finally:
        for connection in taken:
            loop.run_until_complete(connection.close())
        loop.close()


@pytest.mark.parametrize("outage", [stopped, killed, paused, full], ids=lambda outage: outage.__name__)
def test_an_outage_causes_503_until_the_database_is_available(
    shop: Shop, own_postgres: OwnPostgres, outage: Callable[[OwnPostgres], Any]
) -> None:
    with outage(own_postgres):
        responses = _concurrent_requests(shop)
        # A statement on a paused server ends by the statement timeout or by that of its request.
        for response in responses:
            assert response.status_code in ({503, 504} if outage is paused else {503}), response.text
            assert response.headers["content-type"].startswith("application/problem+json")
            assert "Traceback" not in response.text
        later = _concurrent_requests(shop)
        assert {response.status_code for response in later} == {503}
        assert all(int(response.headers["retry-after"]) >= 1 for response in later)
        longest = max(response.elapsed.total_seconds() for response in later)
        assert longest < ACQUIRE_S + REQUEST_S
        wait_until(lambda: shop.ready() == 503, timeout_s=20)

    wait_until(lambda: shop.ready() == 200, timeout_s=30)
    wait_until(lambda: shop.place().status_code == 201, timeout_s=30)
    wait_until(lambda: shop.count("database available again") == 1, timeout_s=20, what=shop.service.output)
    assert shop.count("database unavailable") == 1, shop.service.output()
    assert shop.count("request failed") == 0, shop.service.output()
    _has_no_leak(shop)


def test_a_read_only_database_serves_reads(shop: Shop, own_postgres: OwnPostgres) -> None:
    execute(
        own_postgres.url, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"
    )

    wait_until(lambda: shop.place().status_code == 503, timeout_s=20)
    refused = shop.place()
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert shop.read().status_code == 200
    # The check fails, but the service stays ready for reads.
    wait_until(lambda: shop.check("database_writes") == "failed", timeout_s=20)
    assert shop.ready() == 200
    assert shop.service.metric("db_writable") == 0

    execute(
        own_postgres.url,
        "SET default_transaction_read_only = off",
        "ALTER SYSTEM RESET default_transaction_read_only",
        "SELECT pg_reload_conf()",
    )
    wait_until(lambda: shop.place().status_code == 201, timeout_s=20)
    wait_until(lambda: shop.check("database_writes") == "ok", timeout_s=20)
    assert shop.service.metric("db_writable") == 1
    _has_no_leak(shop)


def _concurrent_requests(shop: Shop) -> list[httpx2.Response]:
    """Return the responses to concurrent reads and writes; each must arrive in time."""
    began = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        requests = [pool.submit(shop.place if i % 2 else shop.read) for i in range(CLIENTS)]
        responses = [request.result(REQUEST_S + SLACK_S) for request in requests]
    assert time.monotonic() - began < REQUEST_S + SLACK_S
    return responses


def _has_no_leak(shop: Shop) -> None:
    wait_until(lambda: shop.service.metric("db_client_connection_count", state="used") == 0, timeout_s=20)
    with ThreadPoolExecutor(POOL) as pool:
        assert {response.status_code for response in pool.map(lambda _: shop.read(), range(2 * POOL))} == {
            200
        }
