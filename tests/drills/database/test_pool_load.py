"""The pool with more clients than connections, and while its connections are replaced."""

import os
import signal
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import httpx2
import pytest
from starkeel_testing import wait_until

from ...support.orders import Customer
from ...support.postgres import value
from ...support.report import report
from .clients import Clients

pytestmark = [pytest.mark.timeout(300), pytest.mark.alone]

CLIENTS, POOL = 200, 5
RESPONSES = max(2000, int(os.environ.get("DRILL_REQUESTS", "3000")))
_OWN = "application_name = 'orders' AND datname = current_database()"
BACKENDS = f"SELECT coalesce(array_agg(pid), '{{}}') FROM pg_stat_activity WHERE {_OWN}"


def test_two_hundred_clients_and_five_connections(customer: Customer, postgres_url: str, capsys: Any) -> None:
    speeds: dict[int, list[float]] = {POOL: [], CLIENTS: []}
    statuses: dict[int, dict[int, int]] = {}
    # In both orders, so that other load on the machine affects both sizes.
    for size in (POOL, CLIENTS, CLIENTS, POOL):
        with customer.running_orders(postgres_url, DB_MAX_CONNECTIONS=str(size)) as service:
            assert customer.place(service.client).status_code == 201
            with Clients(service.url, customer.latest, count=CLIENTS) as clients:
                speeds[size].append(_speed(clients))
        statuses[size] = clients.statuses
        assert set(clients.statuses) <= {200, 503}, (clients.statuses, clients.problems[:3])
    few, many = (sum(speeds[size]) / len(speeds[size]) for size in (POOL, CLIENTS))
    report(
        capsys,
        f"{CLIENTS} clients",
        with_5_connections=f"{few:.0f}/s {statuses[POOL]}",
        with_200=f"{many:.0f}/s {statuses[CLIENTS]}",
        ratio=round(few / many, 2),
    )


def _speed(clients: Clients) -> float:
    """Return the responses per second once every client has started."""
    wait_until(lambda: len(clients.responses) >= CLIENTS, timeout_s=60)
    began, before = time.monotonic(), len(clients.responses)
    wait_until(lambda: len(clients.responses) >= before + RESPONSES // 2, timeout_s=120)
    return (len(clients.responses) - before) / (time.monotonic() - began)


def test_a_full_pool_causes_503_after_the_acquire_timeout(
    customer: Customer, postgres_url: str, capsys: Any
) -> None:
    env = {
        "DB_MAX_CONNECTIONS": str(POOL),
        "DB_ACQUIRE_TIMEOUT_SECONDS": "1",
        "DB_STATEMENT_TIMEOUT_SECONDS": "3",
        # A process that executes jobs keeps a connection, on which it is notified of them.
        "RUN_WORKER": "false",
    }
    waits: list[float] = []

    def read(client: httpx2.Client) -> httpx2.Response:
        began = time.monotonic()
        response = customer.latest(client)
        if response.status_code == 503:
            waits.append(time.monotonic() - began)
        return response

    with customer.running_orders(postgres_url, **env) as service:
        with Locked(postgres_url), Clients(service.url, read, count=40) as clients:
            wait_until(lambda: clients.statuses.get(503, 0) >= 200, timeout_s=120)
        wait_until(lambda: customer.latest(service.client).status_code == 200, timeout_s=30)
        wait_until(lambda: service.metric("db_client_connection_count", state="used") == 0, timeout_s=30)
        timeouts = service.metric("db_client_connection_timeouts_total")
    report(
        capsys,
        "a locked table with a pool of 5",
        responses=clients.statuses,
        median_wait_s=round(sorted(waits)[len(waits) // 2], 2),
        timeouts_counted=int(timeouts),
    )
    assert set(clients.statuses) <= {200, 503}, (clients.statuses, clients.problems[:3])
    assert timeouts > 0


class Locked:
    """Holds a lock on the table of orders."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._is_held, self._is_over = Event(), Event()
        self._thread = Thread(target=self._hold, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()
        assert self._is_held.wait(60)

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join(60)

    def _hold(self) -> None:
        import asyncio

        import asyncpg  # type: ignore[import-untyped]

        async def hold() -> None:
            connection = await asyncpg.connect(self._url)
            async with connection.transaction():
                await connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
                self._is_held.set()
                await asyncio.to_thread(self._is_over.wait)
            await connection.close()

        asyncio.run(hold())


def test_replacing_connections_hardly_exceeds_the_maximum(
    customer: Customer, postgres_url: str, capsys: Any
) -> None:
    maximum, workers = 9, 3
    env = {
        "DB_MAX_CONNECTIONS": str(maximum),
        "DB_MIN_CONNECTIONS": str(maximum),
        "DB_MAX_LIFETIME_SECONDS": "2",
        "WORKERS": str(workers),
    }
    with (
        customer.running_orders(postgres_url, **env) as service,
        Clients(service.url, customer.latest, count=24) as clients,
    ):
        # Until each connection has been replaced several times.
        most_by_lifetime = _max_backends(postgres_url, lambda found: found >= 4 * maximum)
        service.process.send_signal(signal.SIGHUP)
        most_by_reload = _max_backends(postgres_url, lambda _: _count(service, "worker replaced") >= workers)
    report(
        capsys,
        "connections replaced",
        maximum=maximum,
        most_by_lifetime=most_by_lifetime,
        most_by_reload=most_by_reload,
        responses=clients.statuses,
    )
    assert set(clients.statuses) == {200}, (clients.statuses, clients.problems[:3])
    # A connection is still closing when its replacement is opened.
    assert most_by_lifetime <= maximum + workers
    assert most_by_reload <= maximum + maximum // workers + workers


def _max_backends(url: str, is_enough: Callable[[int], bool]) -> int:
    """Return the maximum number of connections, sampled until enough different connections were found."""
    most, pids = 0, set[int]()
    until = time.monotonic() + 120
    while not is_enough(len(pids)):
        assert time.monotonic() < until
        found = value(url, BACKENDS)
        most = max(most, len(found))
        pids.update(found)
    return most


def _count(service: Any, message: str) -> int:
    return sum(line["message"] == message for line in service.logs())
