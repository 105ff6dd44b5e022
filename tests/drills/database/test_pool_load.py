"""The pool under more clients than it has connections, and while its connections are replaced."""

import os
import signal
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

import httpx2
import pytest
from starkeel_testing import wait_until

from ...support.postgres import value
from .orders_fixture import Load, Shop, told

pytestmark = pytest.mark.timeout(300)

CLIENTS, POOL = 200, 5
ANSWERS = max(2000, int(os.environ.get("DRILL_REQUESTS", "3000")))
_OURS = "application_name = 'orders' AND datname = current_database()"
BACKENDS = f"SELECT coalesce(array_agg(pid), '{{}}') FROM pg_stat_activity WHERE {_OURS}"


def test_two_hundred_clients_and_five_connections(ada: Shop, postgres_url: str, capsys: Any) -> None:
    speeds: dict[int, list[float]] = {POOL: [], CLIENTS: []}
    statuses: dict[int, dict[int, int]] = {}
    # There and back, so that what else the machine does meets both.
    for size in (POOL, CLIENTS, CLIENTS, POOL):
        with ada.serving(postgres_url, DB_MAX_CONNECTIONS=str(size)) as service:
            assert ada.place(service.client).status_code == 201
            with Load(service.url, ada.look, clients=CLIENTS) as load:
                speeds[size].append(_speed(load))
        statuses[size] = load.statuses
        assert set(load.statuses) <= {200, 503}, (load.statuses, load.problems[:3])
    few, many = (sum(speeds[size]) / len(speeds[size]) for size in (POOL, CLIENTS))
    told(
        capsys,
        f"{CLIENTS} clients",
        with_5_connections=f"{few:.0f}/s {statuses[POOL]}",
        with_200=f"{many:.0f}/s {statuses[CLIENTS]}",
        ratio=round(few / many, 2),
    )


def _speed(load: Load) -> float:
    """Answers a second, once all clients are at it."""
    wait_until(lambda: len(load.answers) >= CLIENTS, timeout_s=60)
    began, known = time.monotonic(), len(load.answers)
    wait_until(lambda: len(load.answers) >= known + ANSWERS // 2, timeout_s=120)
    return (len(load.answers) - known) / (time.monotonic() - began)


def test_a_full_pool_answers_after_the_acquire_timeout(ada: Shop, postgres_url: str, capsys: Any) -> None:
    env = {
        "DB_MAX_CONNECTIONS": str(POOL),
        "DB_ACQUIRE_TIMEOUT_SECONDS": "1",
        "DB_STATEMENT_TIMEOUT_SECONDS": "3",
    }
    waits: list[float] = []

    def look(client: httpx2.Client) -> httpx2.Response:
        began = time.monotonic()
        answer = ada.look(client)
        if answer.status_code == 503:
            waits.append(time.monotonic() - began)
        return answer

    with ada.serving(postgres_url, **env) as service:
        with Locked(postgres_url), Load(service.url, look, clients=40) as load:
            wait_until(lambda: load.statuses.get(503, 0) >= 200, timeout_s=120)
        wait_until(lambda: ada.look(service.client).status_code == 200, timeout_s=30)
        wait_until(lambda: service.metric("db_client_connection_count", state="used") == 0, timeout_s=30)
        timeouts = service.metric("db_client_connection_timeouts_total")
    told(
        capsys,
        "a table locked under a pool of 5",
        answers=load.statuses,
        median_wait_s=round(sorted(waits)[len(waits) // 2], 2),
        timeouts_counted=int(timeouts),
    )
    assert set(load.statuses) <= {200, 503}, (load.statuses, load.problems[:3])
    assert timeouts > 0


class Locked:
    """Keeps a table locked."""

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


def test_connections_that_are_replaced_are_hardly_more(ada: Shop, postgres_url: str, capsys: Any) -> None:
    maximum, workers = 9, 3
    env = {
        "DB_MAX_CONNECTIONS": str(maximum),
        "DB_MIN_CONNECTIONS": str(maximum),
        "DB_MAX_LIFETIME_SECONDS": "2",
        "WORKERS": str(workers),
    }
    with ada.serving(postgres_url, **env) as service, Load(service.url, ada.look, clients=24) as load:
        # Until each connection was replaced several times.
        worn = _most(postgres_url, lambda seen: seen >= 4 * maximum)
        service.process.send_signal(signal.SIGHUP)
        renewed = _most(postgres_url, lambda _: _count(service, "worker replaced") >= workers)
    told(
        capsys,
        "connections replaced",
        maximum=maximum,
        most_over_lifetimes=worn,
        most_during_a_reload=renewed,
        answers=load.statuses,
    )
    assert set(load.statuses) == {200}, (load.statuses, load.problems[:3])
    # One that is closed is on its way out for a moment after its successor has come.
    assert worn <= maximum + workers
    assert renewed <= maximum + maximum // workers + workers


def _most(url: str, is_enough: Callable[[int], bool]) -> int:
    """Return how many connections there were at most, until enough different ones were seen."""
    most, seen = 0, set[int]()
    until = time.monotonic() + 120
    while not is_enough(len(seen)):
        assert time.monotonic() < until
        found = value(url, BACKENDS)
        most = max(most, len(found))
        seen.update(found)
    return most


def _count(service: Any, message: str) -> int:
    return sum(line["message"] == message for line in service.logs())
