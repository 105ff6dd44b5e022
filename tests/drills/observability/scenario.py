"""The events that the fleet goes through: requests of every kind, then one failure after the other."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import httpx2
import psutil
from starkeel_testing import Service, Span, wait_until

from ...support.orders import sign_in
from .watched_fleet import WatchedFleet

_PASSWORD = "a wagon full of clocks"
_FAILED = 'sum(http_requests_total{service="orders", status="503", path!~"/health/.*"})'
_WAITING = (
    "SELECT 1 FROM pg_stat_activity"
    " WHERE wait_event_type = 'Lock' AND clock_timestamp() - query_start > interval '1 second'"
)


def is_late(span: Span) -> bool:
    """Return whether it is the span of the request that waited for a row."""
    return span.name.startswith("PATCH ") and span.end_ns - span.start_ns > 500_000_000


class Scenario:
    """Steps that each end when Prometheus has scraped their effect."""

    def __init__(self, fleet: WatchedFleet) -> None:
        self._fleet = fleet
        self._prometheus = fleet.prometheus
        self._caller = sign_in(fleet.accounts.client)

    def run(self) -> None:
        """Run all steps but the last."""
        self._prometheus.wait_for('count(up{job="services"} == 1) == 3')
        # Twice: a new series has no increase yet.
        for _ in range(2):
            self.send_requests()
        self.exceed_rate_limit()
        self.delay_request()
        self.kill_worker()
        self.stop_database()
        self.stop_redis()

    def send_requests(self) -> None:
        """Send valid and invalid requests."""
        for replica in (self._fleet.orders, self._fleet.secured):
            for _ in range(10):
                self._place(replica)
            statuses = [response.status_code for response in self._invalid_requests(replica.client)]
            assert statuses == [401, 404, 404, 405, 400, 428, 413], statuses
        for _ in range(10):
            self._register()
        self._read_event()
        for service in self._fleet.services:
            self._wait_until_scraped(service)

    def exceed_rate_limit(self) -> None:
        """Try passwords until the rate limit applies."""
        wrong = {"email": "unknown@example.com", "password": "a wrong password"}

        def is_refused() -> bool:
            response = self._fleet.accounts.client.post("/api/auth/token", json=wrong)
            assert response.status_code in {401, 429}, response.text
            return response.status_code == 429

        for _ in range(2):
            for _ in range(10):
                wait_until(is_refused, timeout_s=60)
            self._wait_until_scraped(self._fleet.accounts)

    def delay_request(self) -> None:
        """Send a request that waits for a row lock."""
        location = self._place(self._fleet.orders)
        order = location.rpartition("/")[2]
        headers = self._caller | {"If-Match": '"1"'}
        with ThreadPoolExecutor() as pool, _locked(self._fleet, order) as is_waiting:
            change = {"quantity": 2}
            late = pool.submit(self._fleet.orders.client.patch, location, json=change, headers=headers)
            wait_until(is_waiting, what="a statement to wait for a second")
        assert late.result().status_code == 200
        # The next step may kill its worker, which loses the spans it has not exported.
        self._fleet.spans.wait_for(lambda spans: any(map(is_late, spans)), timeout_s=60)

    def kill_worker(self) -> None:
        """Kill one of two workers."""
        psutil.Process(self._fleet.orders.process.pid).children()[-1].send_signal(signal.SIGKILL)
        self._fleet.orders.wait_for_log("worker died")
        self._prometheus.wait_for('sum(starkeel_worker_exits_total{reason="signal"}) == 1')
        self._prometheus.wait_for('count(process_start_time_seconds{process=~"worker-.*"}) == 4')

    def stop_database(self) -> None:
        """Stop the database, send requests, and start it again."""
        self._fleet.postgres.stop()
        clients = [self._fleet.orders.client, self._fleet.secured.client]
        for _ in range(2):
            before = self._prometheus.value(_FAILED)
            for client in clients * 10:
                response = client.get("/api/orders", headers=self._caller)
                assert response.status_code == 503, response.text
            wait_until(lambda: all(client.get("/health/ready").status_code == 503 for client in clients))
            wait_until(lambda: self._prometheus.value(_FAILED) >= before + 20, timeout_s=60)  # noqa: B023
        self._fleet.postgres.start()
        for service in self._fleet.services:
            service.wait_until("ready", timeout_s=60)
        for client in clients:
            wait_until(lambda: client.get("/api/orders", headers=self._caller).status_code == 200)  # noqa: B023
            for _ in range(5):
                wait_until(lambda: client.get("/health/ready").status_code == 200)  # noqa: B023

    def stop_redis(self) -> None:
        """Stop Redis: each worker counts its share of the limits, and events are not published."""
        self._fleet.stops["redis"].close()
        for _ in range(2):
            self._register()
            before = self._prometheus.value('sum(rate_limit_requests_total{result="degraded_within"})')
            self._place(self._fleet.orders)
            counted = f'sum(rate_limit_requests_total{{result="degraded_within"}}) > {before}'
            self._prometheus.wait_for(counted)
        self._prometheus.wait_for("max(outbox_oldest_pending_seconds) > 0")
        self._prometheus.wait_for('sum(outbox_failures_total{reason="away"}) > 0')

    def stop_accounts(self) -> None:
        """Stop accounts."""
        self._fleet.stops["accounts"].close()

    def _place(self, replica: Service) -> str:
        body = {"product_type": "oak-plank", "quantity": 1}

        def placed() -> str | None:
            headers = self._caller | {"Idempotency-Key": f'"{uuid4()}"'}
            response = replica.client.post("/api/orders", json=body, headers=headers)
            # The pool may still have a connection that the stopped database closed.
            assert response.status_code in {201, 503}, response.text
            return response.headers.get("Location")

        location = wait_until(placed)
        assert location is not None
        return location

    def _register(self) -> None:
        def is_created() -> bool:
            user = {"email": f"{uuid4().hex}@example.com", "password": _PASSWORD}
            response = self._fleet.accounts.client.post("/api/users", json=user)
            assert response.status_code in {201, 503}, response.text
            return response.status_code == 201

        wait_until(is_created)

    def _invalid_requests(self, client: httpx2.Client) -> Iterator[httpx2.Response]:
        caller = self._caller
        placing = caller | {"Idempotency-Key": f'"{uuid4()}"'}
        yield client.get("/api/orders")
        yield client.get("/nowhere")
        yield client.get(f"/api/orders/{uuid4()}", headers=caller)
        yield client.put("/api/orders", headers=caller)
        yield client.post("/api/orders", json={"quantity": "many"}, headers=placing)
        yield client.patch(f"/api/orders/{uuid4()}", json={"quantity": 1}, headers=caller)
        yield client.post("/api/orders", content=b" " * 2_000_000, headers=placing)

    def _read_event(self) -> None:
        headers = self._caller | {"Last-Event-ID": "0"}
        with self._fleet.orders.client.stream("GET", "/api/orders/events", headers=headers) as events:
            assert any(line.startswith("data:") for line in events.iter_lines())

    def _wait_until_scraped(self, service: Service) -> None:
        """Wait until Prometheus has the service's current count of requests."""
        labels = f'instance="{service.admin_url.removeprefix("http://")}"'
        counted = service.metric("http_requests_total")
        self._prometheus.wait_for(f"sum(http_requests_total{{{labels}}}) >= {counted}")


@contextmanager
def _locked(fleet: WatchedFleet, order: str) -> Iterator[Callable[[], bool]]:
    """Lock a row; yield a function that returns whether a statement has waited for it for a second."""
    url = urlunsplit(urlsplit(fleet.postgres.url)._replace(path="/orders"))
    with asyncio.Runner() as runner:
        holder, watcher = (runner.run(asyncpg.connect(url)) for _ in range(2))
        try:
            runner.run(holder.execute("BEGIN"))
            assert runner.run(holder.fetchval("SELECT 1 FROM orders WHERE id = $1 FOR UPDATE", order)) == 1
            yield lambda: bool(runner.run(watcher.fetchval(_WAITING)))
        finally:
            for connection in (holder, watcher):
                runner.run(connection.close())
