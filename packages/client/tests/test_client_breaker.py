"""Circuit breaker and metrics: processes whose upstream dies, hangs, is overloaded, and recovers."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from litestar.exceptions import ServiceUnavailableException
from starkeel_client import BreakerOpenError
from starkeel_testing import Service, running, wait_until
from structlog.testing import capture_logs

HERE = Path(__file__).parent
Start = Callable[..., Any]


class Upstream:
    """An upstream process on a fixed port, which can die, hang and come back."""

    def __init__(self, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._port = int(server.getsockname()[1])
        self.url = f"http://127.0.0.1:{self._port}"
        self._status = directory / "status"
        self.set_status(200)
        self._process: subprocess.Popen[bytes] | None = None

    def set_status(self, status: int) -> None:
        written = self._status.with_suffix(".new")
        written.write_text(str(status), "utf-8")
        written.rename(self._status)

    def start(self) -> None:
        script = [sys.executable, str(HERE / "upstream_process.py"), str(self._port), str(self._status)]
        self._process = subprocess.Popen(script)
        wait_until(self._responds, timeout_s=20)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def hang(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _responds(self) -> bool:
        try:
            return httpx2.get(self.url, timeout=1, trust_env=False).is_success
        except httpx2.TransportError:
            return False


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    upstream = Upstream(tmp_path)
    upstream.start()
    yield upstream
    upstream.kill()


def run_sample(upstream: Upstream, **env: str) -> AbstractContextManager[Service]:
    limits = {
        "ACCOUNTS_URL": upstream.url,
        "ACCOUNTS_TIMEOUT_SECONDS": "0.5",
        "ACCOUNTS_CONNECT_TIMEOUT_SECONDS": "0.2",
        "ACCOUNTS_BREAKER_MIN_REQUESTS": "10",
    }
    return running("client_sample", {"PYTHONPATH": str(HERE), **limits, **env})


def call(service: Service, times: int = 1) -> list[httpx2.Response]:
    with ThreadPoolExecutor(10) as pool:
        return list(pool.map(lambda _: service.client.get("/call"), range(times)))


def sent(service: Service) -> float:
    return requests(service) - requests(service, "rejected")


def requests(service: Service, outcome: str | None = None) -> float:
    labels = {} if outcome is None else {"outcome": outcome}
    return service.metric("upstream_requests_total", upstream="accounts", **labels)


def workers(service: Service, state: str) -> float:
    return service.metric("upstream_breaker_workers", upstream="accounts", state=state)


BREAK = {
    "dies": (Upstream.kill, Upstream.start, "connection_error"),
    "hangs": (Upstream.hang, Upstream.go_on, "timeout"),
    "is overloaded": (lambda it: it.set_status(503), lambda it: it.set_status(200), "unavailable"),
}


@pytest.mark.parametrize("how", BREAK)
def test_an_upstream_that_fails_is_left_alone_until_it_recovers(upstream: Upstream, how: str) -> None:
    break_it, mend_it, outcome = BREAK[how]
    with run_sample(upstream, ACCOUNTS_BREAKER_OPEN_SECONDS="1") as service:
        assert {response.status_code for response in call(service, 5)} == {200}
        wait_until(lambda: workers(service, "closed") == 1, timeout_s=10)

        break_it(upstream)
        wait_until(lambda: bool(call(service, 10)) and requests(service, "rejected") > 0, timeout_s=20)

        line = service.wait_for_log("breaker opened", upstream="accounts")
        assert line["requests"] >= 10
        assert line["failures"] * 2 >= line["requests"]
        assert requests(service, outcome) >= 5
        for response in call(service, 20):
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) >= 1
            assert response.json()["detail"] == "accounts is currently unavailable."
        # Other routes are unaffected, and no load balancer removes the service.
        assert service.client.get("/health/ready").status_code == 200

        mend_it(upstream)
        wait_until(lambda: {response.status_code for response in call(service, 3)} == {200}, timeout_s=20)
        service.wait_for_log("breaker closed", upstream="accounts")
        wait_until(lambda: workers(service, "closed") == 1, timeout_s=10)
        assert {response.status_code for response in call(service, 30)} == {200}


def test_the_load_on_a_failing_upstream_stays_within_a_tenth_of_the_calls(server: Any, reply: Any) -> None:
    server.script(reply(status=503))
    environment = {
        "PYTHONPATH": str(HERE),
        "ACCOUNTS_URL": server.url,
        "ACCOUNTS_BREAKER_OPEN_SECONDS": "0",
        "WORKERS": "2",
    }
    calls = 400
    with running("client_sample", environment) as service:
        assert {response.status_code for response in call(service, calls)} == {503}

        # One request per call, and the ten retries that each of the two workers has at first.
        assert calls < len(server.received) <= calls + 20
        assert requests(service, "unavailable") == len(server.received)
        refused = service.metric("upstream_retries_refused_total", upstream="accounts")
        assert refused >= calls - 20


def test_the_load_on_a_dead_upstream_stays_within_a_tenth_of_the_calls(upstream: Upstream) -> None:
    calls = 200
    with run_sample(upstream, ACCOUNTS_BREAKER_OPEN_SECONDS="0") as service:
        upstream.kill()

        assert {response.status_code for response in call(service, calls)} == {503}

        assert calls < requests(service) <= calls + 10


def test_an_open_breaker_sends_nothing_and_names_itself_in_the_access_log(upstream: Upstream) -> None:
    with run_sample(upstream, ACCOUNTS_BREAKER_OPEN_SECONDS="600") as service:
        upstream.set_status(503)
        wait_until(lambda: bool(call(service, 10)) and workers(service, "open") == 1, timeout_s=20)
        upstream.set_status(200)
        before = sent(service)

        responses = call(service, 50)

        assert {response.status_code for response in responses} == {503}
        assert all(300 <= int(response.headers["retry-after"]) <= 600 for response in responses)
        assert sent(service) == before
        assert requests(service, "rejected") >= 50
        service.wait_for_log_where(
            lambda line: "BreakerOpenError" in str(line.get("error_type")) and line.get("status") == 503
        )


def test_few_failures_and_responses_of_the_service_itself_do_not_open_it(upstream: Upstream) -> None:
    with run_sample(upstream, ACCOUNTS_RETRIES="0") as service:
        upstream.set_status(503)
        call(service, 9)
        for status in (400, 404, 429, 500, 501):
            upstream.set_status(status)
            assert {response.status_code for response in call(service, 20)} == {status}

        assert requests(service, "rejected") == 0
        assert (requests(service, "unavailable"), requests(service, "answered")) == (9, 100)


def test_the_series_of_every_worker_name_the_upstream_and_no_address(upstream: Upstream) -> None:
    with run_sample(upstream, WORKERS="2") as service:
        call(service, 20)
        wait_until(lambda: workers(service, "closed") == 2, timeout_s=10)
        upstream.hang()
        assert [response.status_code for response in call(service)] == [503]
        upstream.go_on()
        wait_until(lambda: service.metric("upstream_connections", state="idle") >= 1, timeout_s=10)
        # The gauges of each worker follow within a second.
        wait_until(lambda: service.metric("upstream_requests_in_flight") == 0, timeout_s=10)

        samples = [sample for sample in service.metrics() if sample.name.startswith("upstream_")]
        assert {sample.labels["upstream"] for sample in samples} == {"accounts"}
        assert {name for sample in samples for name in sample.labels} == {
            *("upstream", "outcome", "state", "winner", "le"),
        }
        states = {sample.labels["state"] for sample in samples if sample.name == "upstream_connections"}
        assert states == {"used", "idle", "waiting"}
        assert service.metric("upstream_request_duration_seconds_count") == sent(service) == 21


def test_a_half_open_breaker_admits_one_request_at_a_time(server: Any, reply: Any, caller: Start) -> None:
    server.script(*[reply(status=503)] * 5, reply(wait=True), reply())
    calling = caller(breaker_min_requests=5, breaker_open_s=0.1, retries=0)
    wait_until(lambda: calling.call().status_code == 503 and len(server.received) == 5, timeout_s=5)

    with ThreadPoolExecutor() as pool:
        probe = pool.submit(lambda: [calling.call() for _ in iter(lambda: len(server.received) < 6, False)])
        server.wait_for_requests(6)
        assert [calling.call().status_code for _ in range(10)] == [503] * 10
        assert len(server.received) == 6
        server.go_on.set()
        assert probe.result(10)[-1].status_code == 200
    assert [calling.call().status_code for _ in range(10)] == [200] * 10


def test_a_failed_probe_opens_the_breaker_again(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(status=503))
    calling = caller(breaker_min_requests=5, breaker_open_s=0.1, retries=0)

    with capture_logs() as logged:
        wait_until(lambda: calling.call().status_code == 503 and len(server.received) == 8, timeout_s=10)

    # One line per outage, not one per probe.
    assert [line["event"] for line in logged if line["event"].startswith("breaker")] == ["breaker opened"]


def test_retries_end_when_the_breaker_opens(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(status=503))
    calling = caller(breaker_min_requests=2, breaker_open_s=600, retries=10)

    assert calling.call().status_code == 503
    assert calling.call().status_code == 503

    assert len(server.received) == 2


def test_deadlines_that_no_upstream_could_meet_do_not_open_the_breaker(
    server: Any, reply: Any, caller: Start
) -> None:
    server.script(reply(wait=True))
    calling = caller(breaker_min_requests=1)

    assert {calling.call(deadline_s=0.02).status_code for _ in range(5)} == {504}

    server.go_on.set()
    server.script(reply())
    assert calling.call(deadline_s=20).status_code == 200


def test_cancelled_calls_do_not_open_the_breaker_and_do_not_end_a_probe(
    server: Any, reply: Any, caller: Start
) -> None:
    async def give_up(client: Any) -> Any:
        with anyio.move_on_after(0.05):
            return await client.get("/")
        return httpx2.Response(202)

    server.script(reply(wait=True))
    calling = caller(breaker_min_requests=2, breaker_open_s=0.1, connect_timeout_s=0.05, retries=0)
    assert [calling.call(give_up).json()["status"] for _ in range(5)] == [202] * 5
    assert len(server.received) == 5

    server.script(reply(status=503), reply(status=503), reply(wait=True))
    assert [calling.call(lambda it: it.get("/")).status_code for _ in range(3)] == [503] * 3
    wait_until(lambda: calling.call(give_up).status_code == 200, timeout_s=5)
    server.go_on.set()
    server.script(reply())
    assert [calling.call(lambda it: it.get("/")).status_code for _ in range(3)] == [200] * 3


def test_zero_seconds_disable_the_breaker(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(status=503))
    calling = caller(breaker_min_requests=1, breaker_open_s=0, retries=0)

    assert {calling.call().status_code for _ in range(5)} == {503}

    assert len(server.received) == 5


def test_an_open_breaker_is_an_unavailable_service() -> None:
    assert issubclass(BreakerOpenError, ServiceUnavailableException)
