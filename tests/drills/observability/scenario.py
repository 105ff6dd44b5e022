"""What the fleet goes through: requests of every kind, and one misfortune after the other."""

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

from .watched_fleet import Fleet

_PASSWORD = "a wagon full of clocks"
_FAILED = 'sum(http_requests_total{service="orders", status="503", path!~"/health/.*"})'
_WAITING = (
    "SELECT 1 FROM pg_stat_activity"
    " WHERE wait_event_type = 'Lock' AND clock_timestamp() - query_start > interval '1 second'"
)


def is_late(span: Span) -> bool:
    """Whether it is the span of the request that waited for a row."""
    return span.name.startswith("PATCH ") and span.end_ns - span.start_ns > 500_000_000


class Scenario:
    """Tells what happens, chapter by chapter; each ends when Prometheus has seen it.

    Args:
        fleet: Whom it happens to.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._prometheus = fleet.prometheus
        email = f"{uuid4().hex}@example.com"
        person = {"email": email, "password": _PASSWORD}
        assert fleet.accounts.client.post("/api/users", json=person).status_code == 201
        answer = fleet.accounts.client.post("/api/auth/token", json=person)
        self._caller = {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def tell(self) -> None:
        """Have it all happen."""
        self._prometheus.wait_for('count(up{job="services"} == 1) == 3')
        # Twice: a series that has just begun has not increased yet.
        for _ in range(2):
            self.everyday()
        self.limited()
        self.late()
        self.worker_killed()
        self.database_away()
        self.redis_away()

    def everyday(self) -> None:
        """Requests that go well, and those that are their senders' fault."""
        for replica in (self._fleet.orders, self._fleet.secured):
            for _ in range(10):
                self._place(replica)
            statuses = [answer.status_code for answer in self._wrong(replica.client)]
            assert statuses == [401, 404, 404, 405, 400, 428, 413], statuses
        for _ in range(10):
            self._sign_up()
        self._listen()
        for service in self._fleet.services:
            self._seen(service)

    def limited(self) -> None:
        """Somebody tries passwords."""
        wrong = {"email": "nobody@example.com", "password": "no such password"}

        def is_refused() -> bool:
            answer = self._fleet.accounts.client.post("/api/auth/token", json=wrong)
            assert answer.status_code in {401, 429}, answer.text
            return answer.status_code == 429

        for _ in range(2):
            for _ in range(10):
                wait_until(is_refused, timeout_s=60)
            self._seen(self._fleet.accounts)

    def late(self) -> None:
        """A request waits for a row that another transaction holds."""
        location = self._place(self._fleet.orders)
        order = location.rpartition("/")[2]
        headers = self._caller | {"If-Match": '"1"'}
        with ThreadPoolExecutor() as pool, _held(self._fleet, order) as is_waited_for:
            change = {"quantity": 2}
            late = pool.submit(self._fleet.orders.client.patch, location, json=change, headers=headers)
            wait_until(is_waited_for, what="a statement to wait for a second")
        assert late.result().status_code == 200
        # It may be its worker that is killed next, with all that it has not sent yet.
        self._fleet.spans.wait_for(lambda spans: any(map(is_late, spans)), timeout_s=60)

    def worker_killed(self) -> None:
        """One of two workers is killed."""
        psutil.Process(self._fleet.orders.process.pid).children()[-1].send_signal(signal.SIGKILL)
        self._fleet.orders.wait_for_log("worker died")
        self._prometheus.wait_for('sum(starkeel_worker_exits_total{reason="signal"}) == 1')
        self._prometheus.wait_for('count(process_start_time_seconds{process=~"worker-.*"}) == 4')

    def database_away(self) -> None:
        """The database stops, requests fail, and it is there again."""
        self._fleet.postgres.stop()
        clients = [self._fleet.orders.client, self._fleet.secured.client]
        for _ in range(2):
            before = self._prometheus.value(_FAILED)
            for client in clients * 10:
                answer = client.get("/api/orders", headers=self._caller)
                assert answer.status_code == 503, answer.text
            wait_until(lambda: all(client.get("/health/ready").status_code == 503 for client in clients))
            wait_until(lambda: self._prometheus.value(_FAILED) >= before + 20, timeout_s=60)  # noqa: B023
        self._fleet.postgres.start()
        for service in self._fleet.services:
            service.wait_until("ready", timeout_s=60)
        for client in clients:
            wait_until(lambda: client.get("/api/orders", headers=self._caller).status_code == 200)  # noqa: B023
            for _ in range(5):
                wait_until(lambda: client.get("/health/ready").status_code == 200)  # noqa: B023

    def redis_away(self) -> None:
        """Redis ends: limits count nothing, and events stay where they are."""
        self._fleet.stops["redis"].close()
        for _ in range(2):
            self._sign_up()
            before = self._prometheus.value('sum(rate_limit_requests_total{result="unchecked_passed"})')
            self._place(self._fleet.orders)
            counted = f'sum(rate_limit_requests_total{{result="unchecked_passed"}}) > {before}'
            self._prometheus.wait_for(counted)
        self._prometheus.wait_for("max(outbox_oldest_pending_seconds) > 0")
        self._prometheus.wait_for('sum(outbox_failures_total{reason="away"}) > 0')

    def accounts_ends(self) -> None:
        """Accounts stops, as if nobody needed it."""
        self._fleet.stops["accounts"].close()

    def _place(self, replica: Service) -> str:
        body = {"product_type": "oak-plank", "quantity": 1}

        def placed() -> str | None:
            headers = self._caller | {"Idempotency-Key": f'"{uuid4()}"'}
            answer = replica.client.post("/api/orders", json=body, headers=headers)
            # A connection may have been cut while the database was away.
            assert answer.status_code in {201, 503}, answer.text
            return answer.headers.get("Location")

        location = wait_until(placed)
        assert location is not None
        return location

    def _sign_up(self) -> None:
        def is_created() -> bool:
            person = {"email": f"{uuid4().hex}@example.com", "password": _PASSWORD}
            answer = self._fleet.accounts.client.post("/api/users", json=person)
            assert answer.status_code in {201, 503}, answer.text
            return answer.status_code == 201

        wait_until(is_created)

    def _wrong(self, client: httpx2.Client) -> Iterator[httpx2.Response]:
        caller = self._caller
        placing = caller | {"Idempotency-Key": f'"{uuid4()}"'}
        yield client.get("/api/orders")
        yield client.get("/nowhere")
        yield client.get(f"/api/orders/{uuid4()}", headers=caller)
        yield client.put("/api/orders", headers=caller)
        yield client.post("/api/orders", json={"quantity": "many"}, headers=placing)
        yield client.patch(f"/api/orders/{uuid4()}", json={"quantity": 1}, headers=caller)
        yield client.post("/api/orders", content=b" " * 2_000_000, headers=placing)

    def _listen(self) -> None:
        headers = self._caller | {"Last-Event-ID": "none"}
        with self._fleet.orders.client.stream("GET", "/api/orders/events", headers=headers) as events:
            assert any(line.startswith("data:") for line in events.iter_lines())

    def _seen(self, service: Service) -> None:
        """Wait until Prometheus has read what the service has counted."""
        labels = f'instance="{service.admin_url.removeprefix("http://")}"'
        counted = service.metric("http_requests_total")
        self._prometheus.wait_for(f"sum(http_requests_total{{{labels}}}) >= {counted}")


@contextmanager
def _held(fleet: Fleet, order: str) -> Iterator[Callable[[], bool]]:
    """Hold a row until the block ends; gives what tells whether a statement waited for it for a second."""
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
