"""Orders is killed again and again while it writes: what it acknowledged is there, and told once."""

import json
import os
import signal
import sys
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

KILLS = int(os.environ.get("DRILL_KILLS", "5"))
"""How often it is killed; 20 outside CI."""
WRITERS = 4
CREDENTIALS = {"email": "ada@example.com", "password": "seven quiet lighthouses"}


class Customer:
    """Places orders, and sends each until it is acknowledged."""

    def __init__(self, port: int, token: str) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._lock = Lock()
        self.is_over = Event()
        self.is_hopeless = Event()
        self.acknowledged: dict[str, str] = {}
        self.sent = 0
        self.lost = 0

    def place_until_over(self) -> None:
        while not self.is_over.is_set():
            key = uuid4().hex
            order_id = self._placed(key)
            with self._lock:
                self.acknowledged[key] = order_id

    def _placed(self, key: str) -> str:
        while not self.is_hopeless.is_set():
            with self._lock:
                self.sent += 1
            try:
                answer = httpx2.post(
                    f"{self._url}/api/orders",
                    json={"product_type": "anchor", "quantity": 1},
                    headers=self._headers | {"Idempotency-Key": key},
                    timeout=10,
                )
            except httpx2.TransportError:
                with self._lock:
                    self.lost += 1
                time.sleep(0.05)
                continue
            if answer.status_code == 201:
                return str(answer.json()["id"])
            assert answer.status_code in {409, 503}, answer.text
            time.sleep(0.05)
        raise AssertionError("nobody answers")

    def orders(self) -> list[str]:
        """Every order there is, the newest first."""
        with httpx2.Client(base_url=self._url, headers=self._headers, timeout=20) as client:
            found: list[str] = []
            answer = client.get("/api/orders", params={"limit": 100})
            while True:
                found += [order["id"] for order in answer.json()["items"]]
                if "next" not in answer.links:
                    return found
                answer = client.get(answer.links["next"]["url"])

    def events(self, count: int) -> list[tuple[int, str]]:
        """Positions and orders of so many events, from the first on."""
        headers = self._headers | {"Last-Event-ID": "0"}
        seen: list[tuple[int, str]] = []
        position = 0
        with (
            httpx2.Client(base_url=self._url, headers=headers, timeout=20) as client,
            client.stream("GET", "/api/orders/events") as response,
        ):
            for line in response.iter_lines():
                if line.startswith("id: "):
                    position = int(line[4:])
                if line.startswith("data: "):
                    seen.append((position, json.loads(line[6:])["id"]))
                if len(seen) == count:
                    return seen
        return seen


@pytest.fixture
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    file = tmp_path_factory.mktemp("accounts") / "accounts.db"
    with running("accounts", {"DATABASE_URL": f"sqlite:///{file}"}) as service:
        yield service


@contextmanager
def killed_at_the_end(env: dict[str, str]) -> Iterator[Service]:
    with running("orders", env) as service:
        yield service
        os.killpg(service.process.pid, signal.SIGKILL)
        service.wait()


@pytest.mark.needs_postgres
@pytest.mark.timeout(110 + 20 * KILLS)
def test_a_kill_loses_nothing_and_doubles_nothing(
    accounts: Service, postgres_url: str, redis_url: str, free_port: int, capsys: Any
) -> None:
    assert accounts.client.post("/api/users", json=CREDENTIALS).status_code == 201
    token = accounts.client.post("/api/auth/token", json=CREDENTIALS).json()["access_token"]
    env = {
        "ACCOUNTS_URL": accounts.url,
        "JWT_JWKS_URL": f"{accounts.url}/.well-known/jwks.json",
        "DATABASE_URL": postgres_url,
        "REDIS_URL": redis_url,
        "PORT": str(free_port),
        "WORKERS": "2",
        "RATE_LIMIT_ORDER_CREATION": "10000/minute",
    }
    customer = Customer(free_port, token)
    with ThreadPoolExecutor(WRITERS) as pool:
        writers = [pool.submit(customer.place_until_over) for _ in range(WRITERS)]
        try:
            for _ in range(KILLS):
                with killed_at_the_end(env):
                    known = len(customer.acknowledged)
                    wait_until(lambda: len(customer.acknowledged) >= known + 20, timeout_s=60)  # noqa: B023
            with running("orders", env) as service:
                customer.is_over.set()
                for writer in writers:
                    writer.result(60)
                _check(customer, service, redis_url, capsys)
        finally:
            customer.is_over.set()
            customer.is_hopeless.set()


def _check(customer: Customer, service: Service, redis_url: str, capsys: Any) -> None:
    orders = customer.orders()
    events = customer.events(len(orders))
    wait_until(lambda: service.metric("outbox_pending") == 0, timeout_s=30)
    with redis.Redis.from_url(redis_url) as stream:
        entries = [fields for _, fields in stream.xrange("orders:events")]
    published = {int(entry[b"id"]): json.loads(entry[b"payload"])["id"] for entry in entries}
    with capsys.disabled():
        sys.stdout.write(
            f"\nkilled {KILLS} times: {customer.sent} requests sent, {customer.lost} without an answer,"
            f" {len(customer.acknowledged)} orders acknowledged, {len(orders)} there, {len(events)} events,"
            f" {len(entries)} published ({len(entries) - len(published)} twice)\n"
        )
    assert len(orders) == len(set(orders))
    # Every key was acknowledged in the end: what else is there would have been placed twice.
    assert set(orders) == set(customer.acknowledged.values())
    assert [order_id for _, order_id in events] == list(dict.fromkeys(order_id for _, order_id in events))
    assert {order_id for _, order_id in events} == set(orders)
    assert published == dict(events)
