"""Rate limits with a Redis that is slow, hangs, is gone, or was replaced by another server."""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from starkeel_testing import OwnRedis, Service, TcpForwarder, running_redis, wait_until

PASSWORD = "same-for-all-servers"
LIMIT = {"RATE_LIMIT_SAMPLE": "1000/hour"}


@pytest.fixture
def servers() -> Iterator[tuple[OwnRedis, OwnRedis]]:
    """Run a primary and a server that can take its place."""
    with running_redis(password=PASSWORD) as first, running_redis(password=PASSWORD) as second:
        yield first, second


@pytest.fixture
def forwarder() -> Iterator[TcpForwarder]:
    with closing(TcpForwarder(None)) as forwarder:
        yield forwarder


def _get(service: Service, path: str = "/limited", **headers: str) -> httpx2.Response:
    return httpx2.get(f"{service.url}{path}", headers=headers, timeout=20, trust_env=False)


def _connect(service: Service) -> socket.socket:
    parts = urlsplit(service.url)
    return socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20)


def _keys(server: OwnRedis) -> int:
    """Return the number of clients that a server counts requests of."""
    return len(server.execute("KEYS", "*/by_address/*"))


def _counted(service: Service) -> dict[str, float]:
    samples = [sample for sample in service.metrics() if sample.name == "rate_limit_requests_total"]
    results: Counter[str] = Counter()
    for sample in samples:
        results[sample.labels["result"]] += sample.value
    return {result: count for result, count in results.items() if count}


def _logged(service: Service, message: str) -> list[dict[str, Any]]:
    return [line for line in service.logs() if line["message"] == message]


@pytest.mark.parametrize("on_error", ["open", "closed"])
def test_all_of_many_concurrent_requests_are_counted_by_a_slow_redis(
    run_sample: Any, own_redis: OwnRedis, forwarder: TcpForwarder, on_error: str
) -> None:
    forwarder.target = own_redis.port
    env = {"REDIS_URL": forwarder.url(own_redis.url), "RATE_LIMIT_ON_ERROR": on_error, **LIMIT}
    with run_sample(**env) as service:
        assert _get(service).status_code == 200
        forwarder.delay_s = 0.05
        with ExitStack() as stack:
            sockets = [stack.enter_context(_connect(service)) for _ in range(201)]
            for each in sockets[1:]:
                each.sendall(b"GET /limited HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            sockets[0].sendall(
                b"GET /user-limited HTTP/1.1\r\nHost: a\r\nX-User: ada\r\nConnection: close\r\n\r\n"
            )
            statuses = Counter(each.recv(12)[9:] for each in sockets)

        assert statuses == {b"200": 201}
        assert _counted(service) == {"within": 202}
        assert forwarder.accepted == 1
        assert not _logged(service, "rate limit storage failed")


@pytest.mark.parametrize("workers", [1, 2])
def test_requests_are_counted_in_each_worker_while_redis_is_down(
    run_sample: Any, own_redis: OwnRedis, workers: int
) -> None:
    env = {"REDIS_URL": own_redis.url, "WORKERS": str(workers), "RATE_LIMIT_SAMPLE": "7/hour"}
    with run_sample(**env) as service:
        assert [_get(service).status_code for _ in range(8)] == [200] * 7 + [429]
        own_redis.kill()
        statuses: list[int] = []
        # Each worker has refused a request.
        wait_until(lambda: statuses.append(_get(service).status_code) or statuses[-20:] == [429] * 20)
        share = -(-7 // workers)
        assert statuses.count(200) == share * workers
        assert set(statuses) == {200, 429}
        assert len(_logged(service, "rate limit storage failed")) == workers
        assert service.metric("rate_limit_storage_up") == 0
        policy = _get(service).headers["ratelimit-policy"]
        assert policy == f'"by_address";q={share};w=3600'

        own_redis.start()
        wait_until(lambda: _get(service).headers["ratelimit-policy"] == '"by_address";q=7;w=3600')
        wait_until(lambda: _get(service) and len(_logged(service, "rate limit storage recovered")) == workers)
        # Redis has lost its data, so it has counted only the requests since its start.
        assert _keys(own_redis) == 1
        assert service.metric("rate_limit_storage_up") == 1


def test_a_redis_that_does_not_count_is_reported_without_any_request(
    run_sample: Any, own_redis: OwnRedis
) -> None:
    with run_sample(REDIS_URL=own_redis.url) as service:

        def state() -> str:
            return str(service.client.get("/health/ready").json()["checks"]["rate limits"]["status"])

        assert state() == "ok"
        assert service.metric("rate_limit_storage_up") == 1
        own_redis.execute("CONFIG", "SET", "maxmemory", 1)
        wait_until(lambda: state() == "failed")
        assert "maxmemory" in service.wait_for_log("rate limit storage failed")["error"]
        assert service.metric("rate_limit_storage_up") == 0
        own_redis.execute("CONFIG", "SET", "maxmemory", 0)
        wait_until(lambda: state() == "ok")
        service.wait_for_log("rate limit storage recovered")
        assert service.metric("rate_limit_storage_up") == 1
        assert len(_logged(service, "rate limit storage failed")) == 1


def test_closed_refuses_limited_requests_only(run_sample: Any, own_redis: OwnRedis) -> None:
    with run_sample(REDIS_URL=own_redis.url, RATE_LIMIT_ON_ERROR="closed", **LIMIT) as service:
        assert _get(service).status_code == 200
        own_redis.kill()
        assert [_get(service).status_code for _ in range(5)] == [503] * 5
        assert [_get(service, "/client").status_code for _ in range(5)] == [200] * 5
        assert _counted(service) == {"within": 1, "unchecked_refused": 5}


@pytest.mark.parametrize("on_error", ["open", "closed"])
def test_after_a_planned_failover_the_new_primary_counts(
    run_sample: Any, servers: tuple[OwnRedis, OwnRedis], forwarder: TcpForwarder, on_error: str
) -> None:
    first, second = servers
    forwarder.target = first.port
    env = {"REDIS_URL": forwarder.url(first.url), "RATE_LIMIT_ON_ERROR": on_error, **LIMIT}
    with run_sample(**env) as service:
        assert _get(service).status_code == 200
        first.execute("REPLICAOF", "127.0.0.1", second.port)
        forwarder.target = second.port

        wait_until(lambda: _get(service) and _keys(second) == 1, timeout_s=2)
        before = _counted(service)["within"]
        assert [_get(service).status_code for _ in range(10)] == [200] * 10
        assert _counted(service)["within"] == before + 10


def test_a_name_that_follows_late_leads_to_the_new_primary_within_two_seconds(
    run_sample: Any, servers: tuple[OwnRedis, OwnRedis], forwarder: TcpForwarder
) -> None:
    first, second = servers
    forwarder.target = first.port
    with run_sample(REDIS_URL=forwarder.url(first.url), **LIMIT) as service:
        assert _get(service).status_code == 200
        first.execute("REPLICAOF", "127.0.0.1", second.port)
        _get(service)
        service.wait_for_log("rate limit storage failed")
        forwarder.target = second.port
        wait_until(lambda: _get(service) and _keys(second) == 1, timeout_s=2)
        assert len(_logged(service, "rate limit storage recovered")) == 1


def test_a_hung_redis_is_replaced_by_the_new_primary(
    run_sample: Any, servers: tuple[OwnRedis, OwnRedis], forwarder: TcpForwarder
) -> None:
    first, second = servers
    forwarder.target = first.port
    with run_sample(REDIS_URL=forwarder.url(first.url), **LIMIT) as service:
        assert _get(service).status_code == 200
        first.pause()
        forwarder.target = second.port
        wait_until(lambda: _get(service) and _keys(second) == 1, timeout_s=2)


def test_a_cluster_is_refused_with_the_name_of_the_setting(run_sample: Any, own_redis: OwnRedis) -> None:
    own_redis.close()
    own_redis.start(cluster_enabled="yes")
    with run_sample(REDIS_URL=own_redis.url, **LIMIT) as service:
        assert _get(service).status_code == 200
        failed = service.wait_for_log("rate limit storage failed")
        assert "`REDIS_URL` names a node of a Redis Cluster" in failed["error"]
        assert _counted(service) == {"degraded_within": 1}
