"""How often is too often, in one process and in several."""

import contextlib
import re
import socket
import threading
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from litestar import Litestar, get
from litestar.exceptions import ImproperlyConfiguredException
from starkeel_http import EdgePlugin, EdgeSettings, Rate, limit_by_address, limit_by_user
from starkeel_testing import Service, wait_until

PROBLEM = "application/problem+json"
STATE = re.compile(r'"(\w+)";r=(\d+);t=(\d+)')


def _statuses(service: Service, path: str, count: int, **headers: str) -> list[int]:
    # A connection each, so that every worker is asked.
    return [
        httpx2.get(f"{service.url}{path}", headers=headers, timeout=20, trust_env=False).status_code
        for _ in range(count)
    ]


def test_one_more_than_allowed_is_refused(sample: Service) -> None:
    who = {"X-Forwarded-For": "192.0.2.1"}
    answers = [sample.client.get("/limited", headers=who) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    left = []
    for answer in answers:
        assert answer.headers["ratelimit-policy"] == '"by_address";q=3;w=3600'
        found = STATE.fullmatch(answer.headers["ratelimit"])
        assert found is not None
        left.append(int(found[2]))
        assert 3500 < int(found[3]) <= 3600
    assert left == [2, 1, 0, 0, 0]
    refused = answers[-1]
    assert refused.headers["content-type"] == PROBLEM
    assert 3500 < int(refused.headers["retry-after"]) <= 3600
    assert sample.client.get("/limited", headers={"X-Forwarded-For": "192.0.2.2"}).status_code == 200


def test_a_bad_request_counts_too_and_none_is_read_beyond_the_limit(sample: Service) -> None:
    who = {"X-Forwarded-For": "192.0.2.3"}
    statuses = [sample.client.post("/limited-body", content=b"{", headers=who).status_code for _ in range(4)]
    assert statuses == [400, 400, 400, 429]


def test_an_ipv6_client_is_its_network(sample: Service) -> None:
    def ask(address: str) -> int:
        return sample.client.get("/limited", headers={"X-Forwarded-For": address}).status_code

    assert [ask(f"2001:db8:0:7::{number}") for number in range(1, 5)] == [200, 200, 200, 429]
    assert ask("2001:db8:0:8::1") == 200


def test_users_are_counted_after_they_are_known(sample: Service) -> None:
    assert _statuses(sample, "/mine", 5) == [401] * 5
    assert _statuses(sample, "/mine", 4, **{"X-User": "ada"}) == [200] * 3 + [429]
    assert _statuses(sample, "/mine", 1, **{"X-User": "bob"}) == [200]
    answer = sample.client.get("/mine", headers={"X-User": "ada", "Origin": "https://shop.example.com"})
    assert answer.headers["ratelimit-policy"] == '"by_user";q=3;w=3600'
    assert answer.headers["access-control-allow-origin"] == "https://shop.example.com"


def test_a_route_that_knows_nobody_fails_loudly(sample: Service) -> None:
    assert sample.client.get("/nobodys").status_code == 500


def test_health_is_never_limited(sample: Service) -> None:
    assert {sample.client.get("/health/live").status_code for _ in range(20)} == {200}


def test_workers_count_together_in_redis(run_sample: Any, redis_url: str) -> None:
    env = {"WORKERS": "2", "REDIS_URL": redis_url, "RATE_LIMIT_SAMPLE": "6/hour"}
    with run_sample(**env) as service:
        assert _statuses(service, "/limited", 8) == [200] * 6 + [429] * 2
        assert _statuses(service, "/mine", 8, **{"X-User": "ada"}) == [200] * 6 + [429] * 2
        refused = service.client.get("/limited")
        assert 3500 < int(refused.headers["retry-after"]) <= 3600
        assert service.client.get("/health/ready").json()["checks"]["rate limits"]["status"] == "ok"
        assert _counted(service, "over") == 5
        assert _counted(service, "within") == 12
    # And beyond the end of a process.
    with run_sample(**env) as service:
        assert _statuses(service, "/limited", 1) == [429]


def test_workers_without_redis_share_the_limit_out(run_sample: Any) -> None:
    with run_sample(WORKERS="2", RATE_LIMIT_SAMPLE="6/hour") as service:
        warning = service.wait_for_log("rate limits divided among workers")
        assert (warning["level"], warning["workers"]) == ("warning", 2)
        assert sum("divided" in line["message"] for line in service.logs()) == 1
        answer = service.client.get("/limited")
        assert answer.headers["ratelimit-policy"] == '"by_address";q=3;w=3600'
        statuses = _statuses(service, "/limited", 20)
        assert statuses.count(200) <= 5
        assert statuses[-1] == 429


@pytest.mark.parametrize(
    ("on_error", "status", "result"),
    [("open", 200, "unchecked_passed"), ("closed", 503, "unchecked_refused")],
)
def test_while_redis_is_away_requests_pass_or_do_not_as_configured(
    run_sample: Any, free_port: int, on_error: str, status: int, result: str
) -> None:
    env = {"REDIS_URL": f"redis://127.0.0.1:{free_port}/0", "RATE_LIMIT_ON_ERROR": on_error}
    with run_sample(**env) as service:
        assert _statuses(service, "/limited", 10) == [status] * 10
        lost = [line for line in service.logs() if line["message"] == "rate limits lost"]
        assert [line["level"] for line in lost] == ["error"]
        assert _counted(service, result) == 10
        ready = service.client.get("/health/ready")
        assert (ready.status_code, ready.json()["checks"]["rate limits"]["status"]) == (200, "failed")
        if status == 503:
            refused = service.client.get("/limited")
            assert refused.headers["content-type"] == PROBLEM
            assert int(refused.headers["retry-after"]) >= 1


def test_counting_goes_on_when_redis_is_back(run_sample: Any, redis_url: str) -> None:
    with _Switch(redis_url) as switch, run_sample(REDIS_URL=switch.url) as service:
        assert _statuses(service, "/limited", 1) == [200]
        assert "ratelimit" in service.client.get("/limited").headers
        switch.close()
        assert _statuses(service, "/limited", 3) == [200] * 3
        service.wait_for_log("rate limits lost")
        switch.reopen()
        wait_until(lambda: "ratelimit" in service.client.get("/limited").headers, what="limits to be back")
        service.wait_for_log("rate limits regained")
        assert service.client.get("/limited").status_code == 429


def test_a_redis_that_says_nothing_holds_nobody_up_for_long(run_sample: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        with run_sample(REDIS_URL=url, REQUEST_TIMEOUT_SECONDS="5") as service:
            assert _statuses(service, "/limited", 5) == [200] * 5
            service.wait_for_log("rate limits lost")


def test_an_unknown_limit_is_refused_when_the_application_is_made() -> None:
    @get("/", opt=limit_by_address("sing_up"))
    async def handler() -> None: ...

    plugin = EdgePlugin(EdgeSettings(), limits={"sign_up": Rate.parse("1/minute")})
    with pytest.raises(ImproperlyConfiguredException, match=r"`sing_up`.*its limits are `sign_up`"):
        Litestar([handler], plugins=[plugin])


def test_a_limit_needs_a_name() -> None:
    for limit in (limit_by_address, limit_by_user):
        with pytest.raises(ValueError, match="name a limit"):
            limit()
    with pytest.raises(ValueError, match="'Sign up' is no name"):
        EdgePlugin(EdgeSettings(), limits={"Sign up": Rate.parse("1/minute")})


def _counted(service: Service, result: str) -> float:
    return service.metric("rate_limit_requests_total", result=result)


class _Switch:
    """A way to Redis that can be closed."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._userinfo = parts.netloc.rpartition("@")[0]
        self._path = parts.path
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._open: list[socket.socket] = []
        self._is_closed = False
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"redis://{self._userinfo}@127.0.0.1:{self.port}{self._path}"

    def __enter__(self) -> "_Switch":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()

    def close(self) -> None:
        self._is_closed = True
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def reopen(self) -> None:
        self._is_closed = False

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            if self._is_closed:
                client.close()
                continue
            server = socket.create_connection(self._target)
            self._open += [client, server]
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(one: Any, other: Any) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65536):
            other.sendall(data)
    with contextlib.suppress(OSError):
        other.shutdown(socket.SHUT_RDWR)
    one.close()
