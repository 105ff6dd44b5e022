"""Services that are polled, and processes of a program that runs the dashboard."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from socket import create_server
from typing import Any

import httpx2
from starkeel_testing import wait_until

from .conftest import WAIT_S, Start
from .services import FakeService


class Supervised:
    """A dashboard with pipes for messages and commands."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.client = httpx2.Client(base_url=url, timeout=30, trust_env=False)

    def send(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{json.dumps(message)}\n")
        self.process.stdin.flush()

    def page(self, path: str = "/") -> str:
        return self.client.get(path).text

    def wait_for(self, text: str, path: str = "/") -> None:
        wait_until(
            lambda: text in self.page(path), timeout_s=WAIT_S, what=lambda: f"{text} in {self.page(path)}"
        )


@contextmanager
def supervised() -> Iterator[Supervised]:
    with create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "starkeel_dashboard", "--supervised", "--fd", str(listener.fileno())]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=[listener.fileno()]
        )
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        running = Supervised(process, url)
        with running.client:
            yield running
        assert process.stdin is not None
        process.stdin.close()
        # The end of the messages ends it.
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_what_a_service_reports_is_shown(start: Start) -> None:
    settings = [
        {"variable": "LOG_LEVEL", "value": "debug", "source": "environment"},
        {"variable": "PORT", "value": "3000", "source": "default"},
    ]
    with FakeService(settings=settings) as shop, FakeService(settings=settings[1:]) as stock:
        options = [f"{name}={each.url},{each.url}/admin" for name, each in (("shop", shop), ("stock", stock))]
        running = start(*(part for option in options for part in ("--service", option)))
        shop.wait_until_polled(times=2)
        stock.wait_until_polled(times=2)

        page = running.page("/")
        assert re.search(r'state-good">ready<', page)
        assert re.search(r'<th scope="row">db</th><td class="good">ok</td><td>1.50 ms', page)
        database = running.page("/database?service=shop")
        assert "1 pending migrations: 0002_add_price" in database
        assert re.search(r'dead letters</th><td class="numeric bad">3<', database)
        assert "shop_orders_total" in running.page("/metrics")
        assert "LOG_LEVEL" in running.page("/settings?shown=changed")
        assert "not used" in running.page("/settings?text=LOG_LEVEL")
        assert "PORT" not in running.page("/settings?shown=changed")


def test_a_service_that_dies_is_shown_as_unreachable_and_keeps_its_figures(start: Start) -> None:
    with FakeService() as shop:
        running = start("--service", f"shop={shop.url},{shop.url}/admin")
        shop.wait_until_polled(times=1)
        wait_until(lambda: "shop_orders_total" in running.page("/metrics"), timeout_s=WAIT_S, what="metrics")

        shop.stop()

        wait_until(lambda: "unreachable" in running.page("/"), timeout_s=WAIT_S, what="unreachable")
    assert "Connection refused" in running.page("/")
    assert "shop_orders_total" in running.page("/metrics")
    assert "no document: URLError" in running.page("/api-documents")


def test_nonsense_of_a_service_breaks_no_page(start: Start) -> None:
    with FakeService() as shop:
        shop.answers["/admin/config"] = (200, ["not", "an", "object"])
        shop.answers["/admin/metrics"] = (200, "{[ nonsense")
        shop.answers["/schema/openapi.json"] = (200, {"paths": {"/a": 3, "/b": {"get": []}}})
        running = start("--service", f"shop={shop.url},{shop.url}/admin")

        wait_until(lambda: "ValueError" in running.page("/"), timeout_s=WAIT_S, what="the error")
        for path in ("/", "/metrics", "/settings", "/database", "/api-documents"):
            assert "</html>" in running.page(path)


def test_own_requests_belong_to_a_trace_that_is_not_kept(start: Start) -> None:
    with FakeService() as shop:
        running = start("--service", f"shop={shop.url},{shop.url}/admin")
        shop.wait_until_polled(times=2)
        traces = {headers["traceparent"].split("-")[1] for _, headers, _ in shop.requests}
        flags = {headers["traceparent"].split("-")[3] for _, headers, _ in shop.requests}
        (own,) = traces
        assert flags == {"00"}

        line = {
            "resourceLogs": [
                {"scopeLogs": [{"logRecords": [{"traceId": own, "body": {"stringValue": "own"}}]}]}
            ]
        }
        sent = running.post("logs", json.dumps(line), content_type="application/json")
        assert sent.status_code == 200
        assert "No log line passes the filter" in running.page("/logs")
    assert "/health/ready" not in running.page("/metrics")


def test_lines_and_processes_are_shown_and_commands_are_returned() -> None:
    with supervised() as running:
        running.send(type="service", address={"name": "orders", "url": "http://127.0.0.1:9"})
        running.send(type="process", service="orders", pid=4711)
        running.wait_for("process 4711")
        line = {
            "timestamp": "2026-01-02T03:04:05.678901Z",
            "level": "ERROR",
            "message": "payment failed",
            "trace_id": "0" * 31 + "7",
            "order_id": "o-7",
            "exception": {"type": "ValueError", "stack": "Traceback\n  File x"},
        }
        running.send(type="log", service="orders", line=json.dumps(line))
        running.send(type="log", service="orders", line="plain text")
        running.send(type="nonsense")
        running.send(type="log", service="orders", line='{"cut off')
        running.wait_for("cut off", "/logs")

        page = running.page("/logs")
        assert "03:04:05.678" in page
        assert "payment failed" in page
        assert "  File x</pre>" in page
        assert "plain text" in page
        assert "payment failed" in running.page()  # the last error
        assert "payment failed" in running.page("/logs?field=order_id%3Do-7")

        response = running.client.post("/services/orders", data={"action": "restart"})
        assert (response.status_code, response.headers["location"]) == (303, "/#service-orders")
        assert running.process.stdout is not None
        assert json.loads(running.process.stdout.readline()) == {"action": "restart", "service": "orders"}

        running.send(type="process", service="orders", exit_code=3)
        running.wait_for("exited with 3")
        assert 'value="start"' in running.page()


def test_calls_are_sent_with_the_token_of_a_new_user() -> None:
    with FakeService() as shop, supervised() as running:
        shop.answers["/api/users"] = (201, {})
        shop.answers["/api/auth/token"] = (200, {"access_token": "secret-token"})
        shop.answers["/api/items"] = (200, {"items": [1]})
        running.send(type="service", address={"name": "shop", "url": shop.url})
        running.send(type="sign_up", service="shop", sign_up_path="/api/users", token_path="/api/auth/token")
        running.wait_for("shop")

        form = {"service": "shop", "method": "GET", "path": "/api/items?limit=3", "with_token": "true"}
        page = running.client.post("/api-documents", data=form).text

        assert "GET /api/items?limit=3: 200" in page
        assert "&#34;items&#34;" in page
        assert "secret-token" not in page
        (headers,) = (headers for request, headers, _ in shop.requests if request == "GET /api/items?limit=3")
        assert headers["authorization"] == "Bearer secret-token"

        for wrong in ({"service": "other"}, {"path": "@evil.example/"}, {"path": "/a\r\nX: y"}):
            page = running.client.post("/api-documents", data=form | wrong).text
            assert "no response" in page or "404" in page
        assert not [headers for _, headers, _ in shop.requests if "x" in headers]
