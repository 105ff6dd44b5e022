"""Rate limits per address and per user, in one process and in several."""

import re
import socket
from typing import Any

import httpx2
import pytest
from starkeel_testing import OwnRedis, Service, wait_until

PROBLEM = "application/problem+json"
STATE = re.compile(r'"(\w+)";r=(\d+);t=(\d+)')


def _statuses(service: Service, path: str, count: int, **headers: str) -> list[int]:
    # One connection per request, so that every worker is reached.
    return [
        httpx2.get(f"{service.url}{path}", headers=headers, timeout=20, trust_env=False).status_code
        for _ in range(count)
    ]


def test_requests_over_the_limit_are_rejected(sample: Service) -> None:
    client = {"X-Forwarded-For": "192.0.2.1"}
    responses = [sample.client.get("/limited", headers=client) for _ in range(5)]

    assert [response.status_code for response in responses] == [200, 200, 200, 429, 429]
    remaining = []
    for response in responses:
        assert response.headers["ratelimit-policy"] == '"by_address";q=3;w=3600'
        found = STATE.fullmatch(response.headers["ratelimit"])
        assert found is not None
        remaining.append(int(found[2]))
        assert 3500 < int(found[3]) <= 3600
    assert remaining == [2, 1, 0, 0, 0]
    refused = responses[-1]
    assert refused.headers["content-type"] == PROBLEM
    assert 3500 < int(refused.headers["retry-after"]) <= 3600
    assert sample.client.get("/limited", headers={"X-Forwarded-For": "192.0.2.2"}).status_code == 200


def test_invalid_requests_count_and_bodies_over_the_limit_are_not_read(sample: Service) -> None:
    client = {"X-Forwarded-For": "192.0.2.3"}
    statuses = [
        sample.client.post("/limited-body", content=b"{", headers=client).status_code for _ in range(4)
    ]
    assert statuses == [400, 400, 400, 429]


def test_ipv6_clients_are_counted_by_their_network(sample: Service) -> None:
    def status(address: str) -> int:
        return sample.client.get("/limited", headers={"X-Forwarded-For": address}).status_code

    assert [status(f"2001:db8:0:7::{number}") for number in range(1, 5)] == [200, 200, 200, 429]
    assert status("2001:db8:0:8::1") == 200


@pytest.mark.parametrize("has_redis", [False, True])
def test_the_holder_of_many_ipv6_networks_is_limited_as_a_whole(
    run_sample: Any, redis_url: str, has_redis: bool
) -> None:
    env = {"TRUSTED_PROXIES": "127.0.0.1", "RATE_LIMIT_SAMPLE": "2/hour; wide=5"}
    with run_sample(**env | ({"REDIS_URL": redis_url} if has_redis else {})) as service:

        def get(address: str) -> httpx2.Response:
            return service.client.get("/limited", headers={"X-Forwarded-For": address})

        addresses = [f"2001:db8:1:{number}::1" for number in (1, 1, 1, 2, 2, 3, 3, 4)]
        responses = [get(address) for address in addresses]
        assert [each.status_code for each in responses] == [200, 200, 429, 200, 200, 200, 429, 429]
        left = [STATE.fullmatch(each.headers["ratelimit"]) for each in responses]
        # Of its own network, or of all, whichever is less.
        assert [found and int(found[2]) for found in left] == [1, 0, 0, 1, 0, 0, 0, 0]
        assert responses[-1].headers["ratelimit-policy"] == '"by_address";q=2;w=3600'
        assert 3500 < int(responses[-1].headers["retry-after"]) <= 3600
        assert get("2001:db8:2:1::1").status_code == 200
        assert [get("192.0.2.9").status_code for _ in range(3)] == [200, 200, 429]


def test_several_limits_of_a_request_need_one_command(run_sample: Any, own_redis: OwnRedis) -> None:
    env = {"REDIS_URL": own_redis.url, "TRUSTED_PROXIES": "127.0.0.1", "RATE_LIMIT_SAMPLE": "3/hour; burst=2"}
    with run_sample(**env) as service:

        def get(user: str) -> int:
            headers = {"X-User": user, "X-Forwarded-For": "2001:db8::1"}
            return service.client.get("/both-limited", headers=headers).status_code

        assert get("ada") == 200
        own_redis.execute("CONFIG", "RESETSTAT")
        assert [get("ada"), get("")] == [200, 429]
        assert _scripts_run(own_redis) == 2


def test_a_request_without_a_user_counts_for_its_address(run_sample: Any, redis_url: str) -> None:
    with run_sample(REDIS_URL=redis_url) as service:
        assert _statuses(service, "/both-limited", 4) == [401, 401, 401, 429]
        refused = httpx2.get(f"{service.url}/both-limited", timeout=20, trust_env=False)
        assert refused.headers["ratelimit-policy"] == '"by_address";q=3;w=3600'
        assert 3500 < int(refused.headers["retry-after"]) <= 3600
        assert _statuses(service, "/both-limited", 1, **{"X-User": "ada"}) == [429]
        # Refused for its address, a request does not count for its user.
        assert _statuses(service, "/user-limited", 4, **{"X-User": "ada"}) == [200] * 3 + [429]


def test_user_limits_count_after_authentication(sample: Service) -> None:
    assert _statuses(sample, "/user-limited", 5) == [401] * 5
    assert _statuses(sample, "/user-limited", 4, **{"X-User": "ada"}) == [200] * 3 + [429]
    assert _statuses(sample, "/user-limited", 1, **{"X-User": "bob"}) == [200]
    response = sample.client.get(
        "/user-limited", headers={"X-User": "ada", "Origin": "https://shop.example.com"}
    )
    assert response.headers["ratelimit-policy"] == '"by_user";q=3;w=3600'
    assert response.headers["access-control-allow-origin"] == "https://shop.example.com"


def test_a_user_limit_without_authentication_is_a_500(sample: Service) -> None:
    assert sample.client.get("/unauthenticated").status_code == 500


def test_health_is_never_limited(sample: Service) -> None:
    assert {sample.client.get("/health/live").status_code for _ in range(20)} == {200}


def test_workers_share_counters_in_redis(run_sample: Any, redis_url: str) -> None:
    env = {"WORKERS": "2", "REDIS_URL": redis_url, "RATE_LIMIT_SAMPLE": "6/hour"}
    with run_sample(**env) as service:
        assert _statuses(service, "/limited", 8) == [200] * 6 + [429] * 2
        assert _statuses(service, "/user-limited", 8, **{"X-User": "ada"}) == [200] * 6 + [429] * 2
        refused = service.client.get("/limited")
        assert 3500 < int(refused.headers["retry-after"]) <= 3600
        assert service.client.get("/health/ready").json()["checks"]["rate limits"]["status"] == "ok"
        assert _counted(service, "over") == 5
        assert _counted(service, "within") == 12
    # Counters outlive the process.
    with run_sample(**env) as service:
        assert _statuses(service, "/limited", 1) == [429]


def test_without_redis_the_limit_is_divided_among_workers(run_sample: Any) -> None:
    with run_sample(WORKERS="2", RATE_LIMIT_SAMPLE="6/hour") as service:
        warning = service.wait_for_log("rate limits divided among workers")
        assert (warning["level"], warning["workers"]) == ("warning", 2)
        assert sum("divided" in line["message"] for line in service.logs()) == 1
        response = service.client.get("/limited")
        assert response.headers["ratelimit-policy"] == '"by_address";q=3;w=3600'
        statuses = _statuses(service, "/limited", 20)
        assert statuses.count(200) <= 5
        assert statuses[-1] == 429


@pytest.mark.parametrize(
    ("on_error", "statuses", "result"),
    [("open", [200] * 3 + [429] * 2, "degraded_within"), ("closed", [503] * 5, "unchecked_refused")],
)
def test_while_redis_is_unavailable_requests_are_counted_here_or_refused_as_configured(
    run_sample: Any, free_port: int, on_error: str, statuses: list[int], result: str
) -> None:
    env = {"REDIS_URL": f"redis://127.0.0.1:{free_port}/0", "RATE_LIMIT_ON_ERROR": on_error}
    with run_sample(**env) as service:
        assert _statuses(service, "/limited", 5) == statuses
        failed = [line for line in service.logs() if line["message"] == "rate limit storage failed"]
        assert [line["level"] for line in failed] == ["error"]
        assert _counted(service, result) == statuses.count(statuses[0])
        ready = service.client.get("/health/ready")
        assert (ready.status_code, ready.json()["checks"]["rate limits"]["status"]) == (200, "failed")
        if on_error == "closed":
            refused = service.client.get("/limited")
            assert refused.headers["content-type"] == PROBLEM
            assert int(refused.headers["retry-after"]) >= 1


def test_windows_in_redis_move_with_the_clock(run_sample: Any, redis_url: str) -> None:
    with run_sample(REDIS_URL=redis_url, RATE_LIMIT_SAMPLE="2/3 seconds") as service:
        limited = service.client.get
        responses = [limited("/limited"), limited("/limited"), limited("/limited")]
        assert [response.status_code for response in responses] == [200, 200, 429]
        states = [STATE.fullmatch(response.headers["ratelimit"]) for response in responses]
        assert [found and int(found[2]) for found in states] == [1, 0, 0]
        assert 1 <= int(responses[2].headers["retry-after"]) <= 3
        # Refused requests do not count: the next one is allowed when the first has left the window.
        wait_until(lambda: limited("/limited").status_code == 200, timeout_s=10)


def test_counters_survive_the_removal_of_scripts(run_sample: Any, own_redis: OwnRedis) -> None:
    with run_sample(REDIS_URL=own_redis.url) as service:
        assert _statuses(service, "/limited", 2) == [200] * 2
        own_redis.execute("SCRIPT", "FLUSH")
        assert _statuses(service, "/limited", 2) == [200, 429]
        assert _counted(service, "within") == 3


def test_an_error_of_one_counter_does_not_affect_others(run_sample: Any, own_redis: OwnRedis) -> None:
    with run_sample(REDIS_URL=own_redis.url) as service:
        assert _statuses(service, "/limited", 1) == [200]
        [key] = own_redis.execute("KEYS", "*/by_address/*")
        own_redis.execute("SET", key, "not a list")
        assert _statuses(service, "/limited", 1) == [200]
        assert _statuses(service, "/user-limited", 1, **{"X-User": "ada"}) == [200]
        assert (_counted(service, "within"), _counted(service, "degraded_within")) == (2, 1)


def test_an_unresponsive_redis_delays_requests_only_briefly(run_sample: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        env = {"REDIS_URL": url, "REQUEST_TIMEOUT_SECONDS": "5", "RATE_LIMIT_SAMPLE": "5/hour"}
        with run_sample(**env) as service:
            assert _statuses(service, "/limited", 5) == [200] * 5
            service.wait_for_log("rate limit storage failed")


def _scripts_run(server: OwnRedis) -> int:
    stats = server.execute("INFO", "commandstats")
    return sum(stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


def _counted(service: Service, result: str) -> float:
    return service.metric("rate_limit_requests_total", result=result)
