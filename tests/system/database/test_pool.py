"""Connections of three workers, counted in PostgreSQL."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import httpx2
import pytest
from starkeel_testing import Service, wait_until

from ...support.orders import Customer

pytestmark = [pytest.mark.needs_postgres, pytest.mark.timeout(240)]

MAXIMUM, MINIMUM, WORKERS = 20, 5, 3
CLIENTS, MAX_CLIENTS = 30, 600
BACKENDS = "SELECT pid, backend_start FROM pg_stat_activity WHERE application_name = 'orders'"


class Watcher:
    """Observes the server on connections of its own."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._connection: Any = self._loop.run_until_complete(asyncpg.connect(url))
        # A second connection: within a transaction, pg_stat_activity does not change after the first query.
        self._locking: Any = self._loop.run_until_complete(asyncpg.connect(url))
        self.max_backends = 0

    def backends(self) -> dict[int, datetime]:
        query = f"{BACKENDS} AND datname = current_database()"
        rows = self._loop.run_until_complete(self._connection.fetch(query))
        self.max_backends = max(self.max_backends, len(rows))
        return {row["pid"]: row["backend_start"] for row in rows}

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Lock a table, so that every query on it waits."""
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


def test_the_maximum_is_shared_between_workers_and_the_minimum_is_kept(
    customer: Customer, postgres_url: str
) -> None:
    with customer.running_orders(
        postgres_url,
        WORKERS=str(WORKERS),
        DB_MAX_CONNECTIONS=str(MAXIMUM),
        # A process that executes jobs keeps a connection, on which it is notified of them.
        RUN_WORKER="false",
        DB_MIN_CONNECTIONS=str(MINIMUM),
        DB_IDLE_TIMEOUT_SECONDS="2",
        DB_ACQUIRE_TIMEOUT_SECONDS="60",
        DB_STATEMENT_TIMEOUT_SECONDS="60",
        REQUEST_TIMEOUT_SECONDS="60",
    ) as service:
        watcher = Watcher(postgres_url)
        try:
            _check(service, customer, watcher)
        finally:
            watcher.close()


def _check(service: Service, customer: Customer, watcher: Watcher) -> None:
    def read() -> int:
        with httpx2.Client(base_url=service.url, timeout=90) as client:
            return customer.latest(client).status_code

    def used() -> float:
        return service.metric("db_client_connection_count", state="used")

    def all_wait() -> bool:
        return service.metric("http_requests_in_flight") >= len(reading)

    reading: list[Future[int]] = []
    with ThreadPoolExecutor(MAX_CLIENTS) as pool:
        with watcher.locked("orders"):
            # The kernel distributes connections unevenly: add clients until every worker's pool is full.
            while used() < MAXIMUM and len(reading) < MAX_CLIENTS:
                reading += [pool.submit(read) for _ in range(CLIENTS)]
                wait_until(all_wait, timeout_s=60)
            wait_until(lambda: len(watcher.backends()) >= MAXIMUM, timeout_s=60)
        assert {request.result() for request in reading} == {200}
    wait_until(lambda: len(watcher.backends()) == MINIMUM, timeout_s=60)
    assert watcher.max_backends == MAXIMUM
