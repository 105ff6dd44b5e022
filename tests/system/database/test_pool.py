"""The pool of three workers, as PostgreSQL sees it."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import httpx2
import pytest
from starkeel_testing import Service, running, wait_until

pytestmark = [pytest.mark.needs_postgres, pytest.mark.timeout(240)]

CREDENTIALS = {"email": "ada@example.com", "password": "seven quiet lighthouses"}
MAXIMUM, MINIMUM, WORKERS = 20, 5, 3
CLIENTS, MOST_CLIENTS = 30, 600
BACKENDS = "SELECT pid, backend_start FROM pg_stat_activity WHERE application_name = 'orders'"


class Watcher:
    """Looks at the server from outside."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._connection: Any = self._loop.run_until_complete(asyncpg.connect(url))
        # Another: within a transaction the server shows the backends as they were at the first look.
        self._locking: Any = self._loop.run_until_complete(asyncpg.connect(url))
        self.most = 0

    def backends(self) -> dict[int, datetime]:
        query = f"{BACKENDS} AND datname = current_database()"
        rows = self._loop.run_until_complete(self._connection.fetch(query))
        self.most = max(self.most, len(rows))
        return {row["pid"]: row["backend_start"] for row in rows}

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Have whoever wants the table wait."""
        transaction = self._locking.transaction()
        self._loop.run_until_complete(transaction.start())
        self._loop.run_until_complete(self._locking.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        try:
            yield
        finally:
            self._loop.run_until_complete(transaction.rollback())

    def close(self) -> None:
        for connection in (self._connection, self._locking):
            self._loop.run_until_complete(connection.close())
        self._loop.close()


def test_the_maximum_is_shared_and_the_minimum_stays(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("accounts") / "accounts.db"
    with running("accounts", {"DATABASE_URL": f"sqlite:///{file}"}) as accounts:
        assert accounts.client.post("/api/users", json=CREDENTIALS).status_code == 201
        token = accounts.client.post("/api/auth/token", json=CREDENTIALS).json()["access_token"]
        env = {
            "ACCOUNTS_URL": accounts.url,
            "JWT_JWKS_URL": f"{accounts.url}/.well-known/jwks.json",
            "DATABASE_URL": postgres_url,
            "WORKERS": str(WORKERS),
            "DB_MAX_CONNECTIONS": str(MAXIMUM),
            "DB_MIN_CONNECTIONS": str(MINIMUM),
            "DB_IDLE_TIMEOUT_SECONDS": "2",
            "DB_ACQUIRE_TIMEOUT_SECONDS": "60",
            "DB_STATEMENT_TIMEOUT_SECONDS": "60",
            "REQUEST_TIMEOUT_SECONDS": "60",
        }
        with running("orders", env) as service:
            watcher = Watcher(postgres_url)
            try:
                _check(service, token, watcher)
            finally:
                watcher.close()


def _check(service: Service, token: str, watcher: Watcher) -> None:
    headers = {"Authorization": f"Bearer {token}"}

    def look() -> int:
        with httpx2.Client(base_url=service.url, timeout=90) as client:
            return client.get("/api/orders", headers=headers).status_code

    def used() -> float:
        return service.metric("db_client_connection_count", state="used")

    def all_wait() -> bool:
        return service.metric("http_requests_in_flight") >= len(looking)

    looking: list[Future[int]] = []
    with ThreadPoolExecutor(MOST_CLIENTS) as pool:
        with watcher.locked("orders"):
            # The kernel gives a connection to whichever worker is first: more come until each has enough.
            while used() < MAXIMUM and len(looking) < MOST_CLIENTS:
                looking += [pool.submit(look) for _ in range(CLIENTS)]
                wait_until(all_wait, timeout_s=60)
            wait_until(lambda: len(watcher.backends()) >= MAXIMUM, timeout_s=60)
        assert {one.result() for one in looking} == {200}
    wait_until(lambda: len(watcher.backends()) == MINIMUM, timeout_s=60)
    assert watcher.most == MAXIMUM
