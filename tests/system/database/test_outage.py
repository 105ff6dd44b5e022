"""The database goes away and comes back, under orders that serves."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]
import httpx2
import pytest
from starkeel_testing import OwnPostgres, Service, running, wait_until

pytestmark = [pytest.mark.needs_postgres, pytest.mark.timeout(240)]

CREDENTIALS = {"email": "ada@example.com", "password": "seven quiet lighthouses"}
ACQUIRE_S, REQUEST_S = 1.0, 5.0
CLIENTS = 8
POOL = 4
END_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'orders'"
# What a test machine that is busy with others may add to a time.
SLACK_S = 5.0


class Shop:
    """Orders on a database of its own, and one who orders."""

    def __init__(self, service: Service, token: str) -> None:
        self.service = service
        self._headers = {"Authorization": f"Bearer {token}"}

    def place(self) -> httpx2.Response:
        headers = self._headers | {"Idempotency-Key": uuid4().hex}
        body = {"product_type": "anchor", "quantity": 1}
        return self.service.client.post("/api/orders", json=body, headers=headers)

    def look(self) -> httpx2.Response:
        return self.service.client.get("/api/orders", headers=self._headers)

    def ready(self) -> int:
        return self.service.client.get("/health/ready").status_code

    def check(self, name: str) -> str:
        return str(self.service.client.get("/health/ready").json()["checks"][name]["status"])

    def count(self, message: str) -> int:
        return sum(line["message"] == message for line in self.service.logs())


@pytest.fixture
def shop(own_postgres: OwnPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    file = tmp_path_factory.mktemp("accounts") / "accounts.db"
    with running("accounts", {"DATABASE_URL": f"sqlite:///{file}"}) as accounts:
        assert accounts.client.post("/api/users", json=CREDENTIALS).status_code == 201
        token = accounts.client.post("/api/auth/token", json=CREDENTIALS).json()["access_token"]
        env = {
            "ACCOUNTS_URL": accounts.url,
            "JWT_JWKS_URL": f"{accounts.url}/.well-known/jwks.json",
            "DATABASE_URL": own_postgres.url,
            "DB_MAX_CONNECTIONS": str(POOL),
            "DB_MIN_CONNECTIONS": "1",
            "DB_ACQUIRE_TIMEOUT_SECONDS": str(ACQUIRE_S),
            "DB_STATEMENT_TIMEOUT_SECONDS": "2",
            "REQUEST_TIMEOUT_SECONDS": str(REQUEST_S),
            "RATE_LIMIT_ORDER_CREATION": "10000/minute",
        }
        with running("orders", env) as service:
            shop = Shop(service, token)
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
    """Restarted with few connections, all of them taken by others."""
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
                    # The service has some: they are ended, and ours is faster at last.
                    await taken[0].execute(END_OTHERS)

    try:
        loop.run_until_complete(take())
        yield
    finally:
        for connection in taken:
            loop.run_until_complete(connection.close())
        loop.close()


@pytest.mark.parametrize("outage", [stopped, killed, paused, full], ids=lambda outage: outage.__name__)
def test_an_outage_is_a_503_and_passes_by_itself(
    shop: Shop, own_postgres: OwnPostgres, outage: Callable[[OwnPostgres], Any]
) -> None:
    with outage(own_postgres):
        answers = _asked(shop)
        # One that waits in a paused server's statement ends with its statement or its request.
        for answer in answers:
            assert answer.status_code in ({503, 504} if outage is paused else {503}), answer.text
            assert answer.headers["content-type"].startswith("application/problem+json")
            assert "Traceback" not in answer.text
        later = _asked(shop)
        assert {answer.status_code for answer in later} == {503}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in later)
        longest = max(answer.elapsed.total_seconds() for answer in later)
        assert longest < ACQUIRE_S + REQUEST_S
        wait_until(lambda: shop.ready() == 503, timeout_s=20)

    wait_until(lambda: shop.ready() == 200, timeout_s=30)
    wait_until(lambda: shop.place().status_code == 201, timeout_s=30)
    wait_until(lambda: shop.count("database available again") == 1, timeout_s=20, what=shop.service.output)
    assert shop.count("database unavailable") == 1, shop.service.output()
    assert shop.count("request failed") == 0, shop.service.output()
    _has_no_leak(shop)


def test_a_database_that_is_read_only_is_read(shop: Shop, own_postgres: OwnPostgres) -> None:
    _execute(own_postgres, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")

    wait_until(lambda: shop.place().status_code == 503, timeout_s=20)
    refused = shop.place()
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert shop.look().status_code == 200
    # Told, but no reason to take the reads away as well.
    wait_until(lambda: shop.check("database_writes") == "failed", timeout_s=20)
    assert shop.ready() == 200
    assert shop.service.metric("db_writable") == 0

    _execute(
        own_postgres,
        "SET default_transaction_read_only = off",
        "ALTER SYSTEM RESET default_transaction_read_only",
        "SELECT pg_reload_conf()",
    )
    wait_until(lambda: shop.place().status_code == 201, timeout_s=20)
    wait_until(lambda: shop.check("database_writes") == "ok", timeout_s=20)
    assert shop.service.metric("db_writable") == 1
    _has_no_leak(shop)


def _asked(shop: Shop) -> list[httpx2.Response]:
    """Ask from several clients at once, and be answered in time."""
    began = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = [pool.submit(shop.place if i % 2 else shop.look) for i in range(CLIENTS)]
        answers = [one.result(REQUEST_S + SLACK_S) for one in asked]
    assert time.monotonic() - began < REQUEST_S + SLACK_S
    return answers


def _has_no_leak(shop: Shop) -> None:
    wait_until(lambda: shop.service.metric("db_client_connection_count", state="used") == 0, timeout_s=20)
    with ThreadPoolExecutor(POOL) as pool:
        assert {one.status_code for one in pool.map(lambda _: shop.look(), range(2 * POOL))} == {200}


def _execute(server: OwnPostgres, *statements: str) -> None:
    async def execute() -> None:
        connection = await asyncpg.connect(server.url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(execute())
