"""Limit of concurrent requests to an upstream, and the time it leaves for the upstream."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread
from typing import Any

import anyio
import httpx2
import pytest
from prometheus_client import REGISTRY
from starkeel_client import UpstreamBusyError, UpstreamUrl
from starkeel_testing import wait_until
from structlog.testing import capture_logs

Start = Callable[..., Any]


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"upstream": "accounts", **labels}) or 0.0


def occupied(pool: ThreadPoolExecutor, calling: Any, server: Any, count: int) -> list[Future[Any]]:
    """Start calls that the upstream does not answer yet."""
    calls = [pool.submit(calling.call) for _ in range(count)]
    server.wait_for_requests(count)
    return calls


def test_calls_beyond_the_limit_wait_and_a_full_queue_rejects(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(wait=True))
    calling = caller(max_requests=2, max_waiting_requests=1, timeout_s=60)
    before = value("upstream_requests_total", outcome="limited")

    with ThreadPoolExecutor(3) as pool:
        calls = occupied(pool, calling, server, 2)
        calls.append(pool.submit(calling.call))
        # The gauge follows within a second.
        wait_until(lambda: value("upstream_requests_waiting") == 1, timeout_s=20)
        with capture_logs() as logged:
            rejected = calling.call()

        assert (rejected.status_code, rejected.headers["Retry-After"]) == (503, "1")
        assert rejected.json()["detail"] == "Too many calls to accounts are in progress."
        assert [(line["event"], line["error_type"]) for line in logged] == [
            ("upstream failed", UpstreamBusyError.__name__)
        ]
        assert value("upstream_requests_total", outcome="limited") == before + 1
        assert len(server.received) == 2
        server.go_on.set()
        assert [each.result(30).status_code for each in calls] == [200] * 3
    assert len(server.received) == 3


def test_a_call_waits_no_longer_than_its_deadline(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(wait=True))
    calling = caller(max_requests=1, timeout_s=60)

    with ThreadPoolExecutor(1) as pool:
        calls = occupied(pool, calling, server, 1)

        assert calling.call(deadline_s=0.1).status_code == 504
        server.go_on.set()
        assert calls[0].result(30).status_code == 200
    assert len(server.received) == 1


def test_the_slots_of_calls_that_fail_time_out_or_are_cancelled_are_free_again(
    server: Any, reply: Any, caller: Start
) -> None:
    async def give_up(client: Any) -> Any:
        with anyio.move_on_after(0.05):
            return await client.get("/")
        return httpx2.Response(202)

    server.script(reply(drop=True), reply(status=503), reply(wait=True))
    calling = caller(max_requests=1, max_waiting_requests=0, retries=0, timeout_s=0.3, connect_timeout_s=0.3)

    assert [calling.call().status_code for _ in range(3)] == [503] * 3
    assert calling.call(give_up).json()["status"] == 202
    server.go_on.set()
    server.script(reply())
    assert [calling.call(lambda it: it.get("/")).status_code for _ in range(5)] == [200] * 5


def test_calls_that_wait_are_rejected_when_the_breaker_opens(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(wait=True, status=503))
    calling = caller(max_requests=1, breaker_min_requests=1, breaker_open_s=600, retries=0, timeout_s=60)

    with ThreadPoolExecutor(4) as pool:
        calls = occupied(pool, calling, server, 1)
        calls += [pool.submit(calling.call) for _ in range(3)]
        wait_until(lambda: value("upstream_requests_waiting") == 3, timeout_s=20)
        server.go_on.set()
        responses = [each.result(30) for each in calls]

    assert [response.status_code for response in responses] == [503] * 4
    assert [int(response.headers["Retry-After"]) >= 300 for response in responses] == [
        False,
        True,
        True,
        True,
    ]
    assert len(server.received) == 1


class SlowListener:
    """Reads the first request of each connection, and resets the first connections."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                head = connection.recv(65_536)
                self.heads.append(head)
                time.sleep(0.3)
                if len(self.heads) > 1:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    def timeouts(self) -> list[float]:
        lines = [line for head in self.heads for line in head.split(b"\r\n")]
        return [float(line[19:]) for line in lines if line.lower().startswith(b"x-request-timeout: ")]

    def stop(self) -> None:
        self._listener.close()


def test_the_remaining_time_shrinks_with_every_attempt_and_leaves_time_for_the_response(
    caller: Start,
) -> None:
    upstream = SlowListener()
    try:
        assert caller(url=UpstreamUrl(upstream.url), timeout_s=10).call().status_code == 200
    finally:
        upstream.stop()

    first, second = upstream.timeouts()
    assert first <= 9.99
    assert second <= first - 0.3


def test_waiting_for_a_connection_shortens_the_time_of_the_upstream(
    server: Any, reply: Any, caller: Start
) -> None:
    server.script(reply(wait=True), reply())
    calling = caller(max_connections=1, max_requests=2, timeout_s=60, connect_timeout_s=60)

    with ThreadPoolExecutor(2) as pool:
        calls = occupied(pool, calling, server, 1)
        calls.append(pool.submit(calling.call))
        wait_until(lambda: value("upstream_connections", state="waiting") == 1, timeout_s=20)
        waited_from = time.monotonic()
        wait_until(lambda: time.monotonic() >= waited_from + 0.5, timeout_s=20)
        server.go_on.set()
        assert [each.result(60).status_code for each in calls] == [200] * 2

    assert float(server.received[1].headers["X-Request-Timeout"]) <= 59.5


@pytest.mark.parametrize(("deadline_s", "limit_s"), [(300, 280), (50, 45)])
def test_the_remaining_time_is_that_of_the_request_less_the_way_of_the_response(
    server: Any, caller: Start, monkeypatch: pytest.MonkeyPatch, deadline_s: float, limit_s: float
) -> None:
    # More than a slow machine takes to send the request, and not more than a tenth of the rest.
    monkeypatch.setattr("starkeel_client._attempt._HOP_S", 20.0 if deadline_s > 50 else 1000.0)
    caller(timeout_s=300).call(deadline_s=deadline_s)

    sent = float(server.received[0].headers["X-Request-Timeout"])
    assert 0 < sent <= limit_s
