"""Request timeouts."""

import socket
import time

import httpx2
import pytest
import websockets.sync.client
from starkeel_testing import Service

PROBLEM = "application/problem+json"


@pytest.mark.parametrize(("path", "name"), [("/slow", "slow"), ("/short", "short")])
def test_a_timed_out_request_is_cancelled(sample: Service, path: str, name: str) -> None:
    response = sample.client.get(path)

    assert (response.status_code, response.headers["content-type"]) == (504, PROBLEM)
    assert response.json()["title"] == "Gateway Timeout"
    sample.wait_for_log("cancelled", name=name)
    sample.wait_for_log("cleaned up", name=name)
    sample.wait_for_log("request finished", path=path, error_type="TimeoutError", outcome="returned")
    assert sample.wait_for_log("request timed out", route=path)["level"] == "warning"


def test_a_route_may_take_longer_than_the_default(sample: Service) -> None:
    assert sample.client.get("/long").text == "slept"


@pytest.mark.parametrize("path", ["/swallows-cancellation", "/raises-when-cancelled"])
def test_a_handler_that_resists_cancellation_sends_no_late_response(sample: Service, path: str) -> None:
    response = sample.client.get(path)

    assert (response.status_code, response.headers["content-type"]) == (504, PROBLEM)


def test_a_partially_sent_response_is_aborted(sample: Service) -> None:
    with pytest.raises(httpx2.RemoteProtocolError, match="closed connection"):
        sample.client.get("/half")

    sample.wait_for_log("cancelled", name="half")
    sample.wait_for_log("request finished", path="/half", outcome="TimeoutError")


def test_an_event_stream_has_no_timeout(sample: Service) -> None:
    assert sample.client.get("/events").text.count("data: None") == 2


def test_a_websocket_has_no_timeout(sample: Service) -> None:
    with websockets.sync.client.connect(f"{sample.url.replace('http', 'ws')}/socket") as connection:
        assert connection.recv() == "False"


def test_only_an_internal_service_may_shorten_the_timeout(run_sample) -> None:  # type: ignore[no-untyped-def]
    def left(service: Service, header: str, **others: str) -> float:
        headers = {"X-Request-Timeout": header} | others
        return float(service.client.get("/deadline", headers=headers).text)

    with run_sample(REQUEST_TIMEOUT_SECONDS="30", INTERNAL_NETWORKS="127.0.0.0/8") as service:
        assert 0 < left(service, "12.250") <= 12.25
        for ignored in ("900", "0", "-1", "nan", "inf", "soon", "", "1e999"):
            assert 20 < left(service, ignored) <= 30
        assert service.client.get("/slow", headers={"X-Request-Timeout": "0.1"}).status_code == 504
        # A proxy forwarded these, trusted or not.
        for name in ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP"):
            assert left(service, "1", **{name: "127.0.0.1"}) > 20
        assert left(service, "1", **{"X-Forwarded-Proto": "http"}) <= 1
    with run_sample(REQUEST_TIMEOUT_SECONDS="30", TRUSTED_PROXIES="127.0.0.1") as service:
        assert left(service, "1") > 20
    with run_sample(REQUEST_TIMEOUT_SECONDS="30", INTERNAL_NETWORKS="10.0.0.0/8") as service:
        assert left(service, "1") > 20
        assert left(service, "1", **{"X-Forwarded-For": "10.0.0.1"}) > 20


def test_the_connection_serves_the_next_request_after_a_timeout(sample: Service) -> None:
    host, _, port = sample.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        for path, status in (("/short", b"504"), ("/client", b"200"), ("/short", b"504")):
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            response = connection.recv(65536)
            until = time.monotonic() + 10
            while response.count(b"\r\n\r\n") == 0 or not response.split(b"\r\n\r\n")[1]:
                assert time.monotonic() < until
                response += connection.recv(65536)
            assert response.split(b" ")[1] == status
