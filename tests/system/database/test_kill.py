"""Orders is killed while it writes: acknowledged orders are kept, and each event is sent once."""

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Lock
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import redis
from starkeel_testing import Service, running, wait_until

from ...support.orders import Customer
from ...support.report import report

KILLS = int(os.environ.get("DRILL_KILLS", "5"))
"""Number of kills; 20 outside CI."""
WRITERS = 4


class Writers:
    """Clients that place orders and retry each until it is acknowledged."""

    def __init__(self, customer: Customer, port: int) -> None:
        self._customer = customer
        self._url = f"http://127.0.0.1:{port}"
        self._lock = Lock()
        self.is_over = Event()
        self.is_aborted = Event()
        self.acknowledged: dict[str, str] = {}
        self.sent = 0
        self.lost = 0

    def place_until_over(self) -> None:
        while not self.is_over.is_set():
            key = uuid4().hex
            order_id = self._place(key)
            with self._lock:
                self.acknowledged[key] = order_id

    def _place(self, key: str) -> str:
        while not self.is_aborted.is_set():
            with self._lock:
                self.sent += 1
            try:
                with httpx2.Client(base_url=self._url, timeout=10) as client:
                    response = self._customer.place(client, key)
            except httpx2.TransportError:
                with self._lock:
                    self.lost += 1
                time.sleep(0.05)
                continue
            if response.status_code == 201:
                return str(response.json()["id"])
            assert response.status_code in {409, 503}, response.text
            time.sleep(0.05)
        raise AssertionError("the order was not acknowledged")


@contextmanager
def killed_at_the_end(env: dict[str, str]) -> Iterator[Service]:
    with running("orders", env) as service:
        yield service
        os.killpg(service.process.pid, signal.SIGKILL)
        service.wait()


@pytest.mark.needs_postgres
@pytest.mark.timeout(110 + 20 * KILLS)
def test_kills_lose_and_duplicate_nothing(
    customer: Customer, postgres_url: str, redis_url: str, free_port: int, capsys: Any
) -> None:
    env = customer.env | {
        "DATABASE_URL": postgres_url,
        "REDIS_URL": redis_url,
        "BROKER_URL": redis_url,
        "PORT": str(free_port),
        "WORKERS": "2",
    }
    writers = Writers(customer, free_port)
    with ThreadPoolExecutor(WRITERS) as pool:
        writing = [pool.submit(writers.place_until_over) for _ in range(WRITERS)]
        try:
            for _ in range(KILLS):
                with killed_at_the_end(env):
                    enough = len(writers.acknowledged) + 20
                    wait_until(lambda: len(writers.acknowledged) >= enough, timeout_s=60)  # noqa: B023
            with running("orders", env) as service:
                writers.is_over.set()
                for future in writing:
                    future.result(60)
                _check(customer, writers, service, redis_url, capsys)
        finally:
            writers.is_over.set()
            writers.is_aborted.set()


def _check(customer: Customer, writers: Writers, service: Service, redis_url: str, capsys: Any) -> None:
    orders = customer.order_ids(service.client)
    events = _events(customer, service, len(orders))
    wait_until(lambda: service.metric("outbox_pending") == 0, timeout_s=30)
    with redis.Redis.from_url(redis_url) as stream:
        entries = [json.loads(fields[b"event"]) for _, fields in stream.xrange("events:orders")]
    # An id is the position and the time of the creation.
    published = {int(entry["id"].partition("-")[0]): entry["data"]["id"] for entry in entries}
    report(
        capsys,
        f"killed {KILLS} times",
        requests_sent=writers.sent,
        without_response=writers.lost,
        orders_acknowledged=len(writers.acknowledged),
        orders_stored=len(orders),
        events=len(events),
        published=len(entries),
        published_twice=len(entries) - len(published),
    )
    assert len(orders) == len(set(orders))
    # Each key was acknowledged in the end, so any other order would be a duplicate.
    assert set(orders) == set(writers.acknowledged.values())
    assert [order_id for _, order_id in events] == list(dict.fromkeys(order_id for _, order_id in events))
    assert {order_id for _, order_id in events} == set(orders)
    assert published == dict(events)


def _events(customer: Customer, service: Service, count: int) -> list[tuple[int, str]]:
    """Return position and order of the first events."""
    headers = customer.headers | {"Last-Event-ID": "0"}
    found: list[tuple[int, str]] = []
    position = 0
    with service.client.stream("GET", "/api/orders/events", headers=headers) as response:
        for line in response.iter_lines():
            if line.startswith("id: "):
                position = int(line[4:])
            if line.startswith("data: "):
                found.append((position, json.loads(line[6:])["id"]))
            if len(found) == count:
                return found
    return found
