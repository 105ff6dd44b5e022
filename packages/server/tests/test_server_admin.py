"""Operator endpoints of the admin port and their access control."""

import os
import re
import signal
import socket
from typing import Any

import httpx2
import psutil
import pytest
from starkeel_server._admin.http_server import is_local

from .test_server_workers import worker_pids

PRIVATE = ["/info", "/config", "/routes", "/loggers", "/migrations", "/tasks", "/traces"]


def page(sample: Any, path: str) -> Any:
    answer = httpx2.get(sample.admin + path, timeout=30)
    assert answer.status_code == 200, (path, answer.status_code, answer.text)
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def other_address() -> str:
    """Return a non-loopback address of this machine."""
    found = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family is socket.AF_INET and not address.address.startswith("127.")
    ]
    assert found, "this machine has only loopback addresses"
    return found[0]


def test_the_first_page_of_the_admin_port_links_all_others(samples: Any) -> None:
    sample = samples.ready()

    answer = httpx2.get(sample.admin + "/", timeout=30)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    links = re.findall(r'href="([^"]+)"', answer.text)
    assert links == sorted([*PRIVATE, "/live", "/metrics", "/ready"])
    statuses = {link: httpx2.get(sample.admin + link, timeout=30).status_code for link in links}
    # The sample has no telemetry.
    assert {link for link, status in statuses.items() if status != 200} == {"/loggers", "/traces"}, statuses


def test_operator_endpoints_describe_the_running_service(samples: Any) -> None:
    password = samples.directory / "password"
    password.write_text("correct horse battery")
    sample = samples.ready(
        SERVICE_REVISION="abc123", SAMPLE_PASSWORD="", SAMPLE_PASSWORD_FILE=password, SAMPLE_GREETING="hi"
    )

    info = page(sample, "/info")
    assert info["service"] == "sample"
    assert info["dependencies"]["litestar"].startswith("2.")
    settings = {entry["variable"]: entry for entry in page(sample, "/config")["settings"]}
    assert settings["SAMPLE_PASSWORD"]["value"] == "***"
    assert settings["SAMPLE_PASSWORD"]["source"] == f"file {password}"
    assert (settings["SAMPLE_GREETING"]["value"], settings["SAMPLE_GREETING"]["source"]) == (
        "hi",
        "environment",
    )
    assert settings["WORKERS"]["source"] == "default"
    routes = {(route["path"], *route["methods"]): route for route in page(sample, "/routes")["routes"]}
    assert routes["/slow/{seconds}", "GET"]["handler"] == "sample.app.slow"
    assert routes["/live", "GET"]["kind"] == "websocket"
    assert page(sample, "/migrations") == {"current": "7"}
    assert "correct horse" not in "".join(
        httpx2.get(sample.admin + path, timeout=30).text for path in [*PRIVATE, "/metrics"]
    )


def test_an_endpoint_without_a_handler_is_not_found(samples: Any) -> None:
    sample = samples.ready()

    for path in ("/loggers", "/traces", "/nowhere", "/../etc/passwd"):
        assert httpx2.get(sample.admin + path, timeout=30).status_code == 404, path


def test_operator_endpoints_are_read_only(samples: Any) -> None:
    sample = samples.ready()

    for path in [*PRIVATE, "/metrics", "/live", "/ready"]:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
            answer = httpx2.request(method, sample.admin + path, timeout=30)
            assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD"), (method, path)
    head = httpx2.head(f"{sample.admin}/config", timeout=30)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 100


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_operator_endpoints_are_for_this_machine_only(samples: Any, host: str) -> None:
    sample = samples.ready(METRICS_HOST=host)
    port = httpx2.URL(sample.admin).port

    for path in PRIVATE:
        assert httpx2.get(f"http://{other_address()}:{port}{path}", timeout=30).status_code == 403, path
        # Headers cannot claim another address.
        claims = {"X-Forwarded-For": "127.0.0.1", "Host": "localhost"}
        answer = httpx2.get(f"http://{other_address()}:{port}{path}", headers=claims, timeout=30)
        assert answer.status_code == 403, path
    for path in ("/metrics", "/live", "/ready"):
        assert httpx2.get(f"http://{other_address()}:{port}{path}", timeout=30).status_code == 200, path
    assert httpx2.get(f"http://127.0.0.1:{port}/config", timeout=30).status_code == 200


def test_proxied_and_rebound_requests_are_rejected(samples: Any) -> None:
    sample = samples.ready()

    for headers in (
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"X-Real-IP": "127.0.0.1"},
        {"Host": "rebound.example.com"},
    ):
        assert httpx2.get(f"{sample.admin}/config", headers=headers, timeout=30).status_code == 403, headers
    assert (
        httpx2.get(f"{sample.admin}/config", headers={"Host": "localhost:1"}, timeout=30).status_code == 200
    )


@pytest.mark.parametrize(
    ("peer", "host", "expected"),
    [
        ("127.0.0.1", "", True),
        ("127.8.8.8", "127.0.0.1:9090", True),
        ("::1", "[::1]:9090", True),
        ("::ffff:127.0.0.1", "LOCALHOST", True),
        ("::ffff:192.0.2.1", "localhost", False),
        ("192.0.2.1", "localhost", False),
        ("0.0.0.0", "localhost", False),
        ("fe80::1%eth0", "localhost", False),
        ("", "localhost", False),
        ("127.0.0.1", "localhost.example.com", False),
        ("127.0.0.1", "127.0.0.1.example.com", False),
        ("127.0.0.1", "[::1", True),
    ],
)
def test_is_local(peer: str, host: str, expected: bool) -> None:
    assert is_local(peer, {"host": host}) is expected


def test_tasks_show_where_a_worker_is_blocked(samples: Any) -> None:
    sample = samples.ready(WORKERS=2)

    with socket.create_connection(sample.url.removeprefix("http://").split(":")) as client:
        client.sendall(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
        sample.wait_for_log("stuck began")
        workers = page(sample, "/tasks")["workers"]

        stands = {worker["index"]: " ".join(worker["loop_stands_at"]) for worker in workers}
        assert sorted(stands) == [0, 1]
        assert sum("sample/app.py" in places and "stuck" in places for places in stands.values()) == 1
        assert all(worker["count"] > 0 and worker["tasks"] for worker in workers)


def test_tasks_show_where_a_request_waits(samples: Any) -> None:
    sample = samples.ready()

    with socket.create_connection(sample.url.removeprefix("http://").split(":")) as client:
        client.sendall(b"GET /slow/3600.0 HTTP/1.1\r\nHost: x\r\n\r\n")
        sample.wait_for_log("slow began")
        (worker,) = page(sample, "/tasks")["workers"]

        places = [" ".join(task["stands_at"]) for task in worker["tasks"]]
        assert any(
            re.search(r"sample/app\.py:\d+ slow asyncio/tasks\.py:\d+ sleep", place) for place in places
        )


def test_an_unresponsive_worker_is_reported_and_delays_no_other(samples: Any) -> None:
    sample = samples.ready(WORKERS=2)
    stopped = worker_pids(sample)[1]

    os.kill(stopped, signal.SIGSTOP)
    try:
        for _ in range(2):
            workers = {worker["index"]: worker for worker in page(sample, "/tasks")["workers"]}
            assert workers[1] == {"index": 1, "worker_pid": stopped, "error": "did not answer within 2 s"}
            assert workers[0]["count"] > 0
        assert page(sample, "/routes")["routes"]
    finally:
        os.kill(stopped, signal.SIGCONT)

    samples.wait_until(lambda: all("count" in worker for worker in page(sample, "/tasks")["workers"]))


def test_a_restarted_worker_responds(samples: Any) -> None:
    sample = samples.ready()
    killed = worker_pids(sample)[0]

    os.kill(killed, signal.SIGKILL)
    sample.wait_for_log("process started", role="worker", count=2)

    def answers() -> list[int]:
        return [worker["worker_pid"] for worker in page(sample, "/tasks")["workers"] if "count" in worker]

    assert samples.wait_until(answers) == [worker_pids(sample)[0]]
    assert killed != worker_pids(sample)[0]


def test_a_long_runtime_directory_path_is_supported(samples: Any) -> None:
    samples.tmp = samples.tmp / ("d" * 120)
    samples.tmp.mkdir()
    sample = samples.ready()

    assert page(sample, "/tasks")["workers"][0]["count"] > 0
    assert page(sample, "/routes")["routes"]


def test_a_failed_control_request_reports_only_the_exception_type(samples: Any) -> None:
    flag = samples.directory / "flag"
    sample = samples.ready(SAMPLE_FLAG=flag)
    flag.touch()

    answer = httpx2.get(f"{sample.admin}/migrations", timeout=30)

    assert answer.status_code == 503
    assert answer.json()["workers"][0]["error"] == "ConnectionError"
    assert "hunter2" not in answer.text


def test_the_main_process_responds_while_migrations_run(samples: Any) -> None:
    sample = samples.start(SAMPLE_FAILS="migrate hangs")
    sample.wait_for_log("migrating")

    assert page(sample, "/info")["service"] == "sample"
    assert page(sample, "/config")["settings"]
    assert page(sample, "/tasks") == {"workers": []}
    assert httpx2.get(f"{sample.admin}/migrations", timeout=30).status_code == 503


def test_config_shows_values_changed_by_sighup(samples: Any) -> None:
    greeting = samples.directory / "greeting"
    greeting.write_text("hello")
    sample = samples.ready(SAMPLE_GREETING_FILE=greeting)

    def shown() -> str:
        settings = page(sample, "/config")["settings"]
        return next(entry["value"] for entry in settings if entry["variable"] == "SAMPLE_GREETING")

    assert shown() == "hello"
    greeting.write_text("good day")
    sample.signal(signal.SIGHUP)
    samples.wait_until(lambda: shown() == "good day")
