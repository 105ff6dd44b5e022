"""Calls to an upstream by HTTP/2, on a real server."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from starkeel_client import UpstreamSettings, UpstreamUrl
from starkeel_testing import wait_until

from ..support.certificates import Authority
from ..support.upstreams import Http2Upstream, calling


@pytest.fixture
def upstream() -> Iterator[Http2Upstream]:
    upstream = Http2Upstream()
    yield upstream
    upstream.stop()


def connections() -> dict[str, float]:
    name = "upstream_connections"
    states = ("used", "idle", "waiting")
    return {
        state: REGISTRY.get_sample_value(name, {"upstream": "accounts", "state": state}) or 0.0
        for state in states
    }


def test_many_calls_share_one_connection(upstream: Http2Upstream) -> None:
    with calling(upstream.url, http2=True) as application:
        assert application.call().status_code == 200
        with ThreadPoolExecutor(10) as pool:
            responses = list(pool.map(lambda _: application.call(), range(50)))

        assert {response.status_code for response in responses} == {200}
        assert set(upstream.versions) == {"2"}
        wait_until(lambda: connections() == {"used": 0, "idle": 1, "waiting": 0}, timeout_s=20)


def test_without_the_setting_http_1_1_is_used(upstream: Http2Upstream) -> None:
    with calling(upstream.url) as application:
        assert application.call().status_code == 200

    assert upstream.versions == ["1.1"]


@pytest.mark.parametrize(("http2", "version"), [(True, "2"), (False, "1.1")])
def test_the_version_is_negotiated_with_tls(tmp_path: Path, http2: bool, version: str) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("accounts.example")
    upstream = Http2Upstream(certificate=certificate, key=key)
    try:
        with calling(upstream.url, http2=http2, tls_ca_file=authority.certificate) as application:
            assert application.call().status_code == 200
    finally:
        upstream.stop()

    assert upstream.versions == [version]


def test_abandoned_calls_end_at_the_upstream_and_leave_the_connection_usable(upstream: Http2Upstream) -> None:
    with calling(upstream.url, http2=True, timeout_s=0.3, connect_timeout_s=0.3) as application:
        assert application.call().status_code == 200
        with ThreadPoolExecutor(10) as pool:
            abandoned = list(pool.map(lambda _: application.call("/wait"), range(10)))

        assert {response.status_code for response in abandoned} == {503}
        upstream.wait_until_disconnected(10)
        # The requests ended although the connection is open.
        wait_until(lambda: connections()["idle"] == 1, timeout_s=20)
        assert application.call().status_code == 200


def test_the_package_of_http2_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = UpstreamSettings(url=UpstreamUrl("http://127.0.0.1:1"), http2=True)
    assert list(settings.problems("production")) == []

    # As if it were not installed.
    monkeypatch.setattr("starkeel_client._settings.find_spec", lambda _: None)

    (problem,) = settings.problems("production")
    assert problem.variable == "HTTP2"
    assert "starkeel-client[http2]" in problem.accepted
