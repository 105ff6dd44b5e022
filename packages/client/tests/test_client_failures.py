"""Failing upstreams: retries, deadlines, and the resulting errors."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from starkeel_client import UpstreamUrl
from structlog.testing import capture_logs

Start = Callable[..., Any]


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_idempotent_call_is_retried_until_it_succeeds(
    server: Any, reply: Any, caller: Start, status: int
) -> None:
    server.script(reply(status=status), reply(drop=True), reply(truncate=True), reply(body=b"recovered"))

    response = caller(retries=3).call()

    assert (response.status_code, response.json()["body"]) == (200, "recovered")
    assert len(server.received) == 4


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_retries_are_limited(server: Any, reply: Any, caller: Start, method: str) -> None:
    server.script(reply(status=503))

    response = caller(retries=2).call(lambda it: it.request(method, "/"))

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert response.json()["detail"] == "accounts is currently unavailable."
    assert [request.method for request in server.received] == [method] * 3


def test_zero_retries_disables_retries(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(status=503))

    assert caller(retries=0).call().status_code == 503
    assert len(server.received) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("how", [{"status": 503}, {"drop": True}, {"truncate": True}])
def test_a_call_that_is_not_idempotent_is_not_retried(
    server: Any, reply: Any, caller: Start, method: str, how: dict[str, Any]
) -> None:
    server.script(reply(**how))

    assert caller().call(lambda it: it.request(method, "/", json={})).status_code == 503
    assert len(server.received) == 1


def test_a_call_with_an_idempotency_key_is_retried_unchanged(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(status=503), reply(drop=True), reply(status=201))

    response = caller().call(lambda it: it.post("/", json={"a": 1}, headers={"idempotency-key": "k"}))

    assert response.json()["status"] == 201
    assert [(request.body, request.headers["Idempotency-Key"]) for request in server.received] == [
        (b'{"a":1}', "k")
    ] * 3


@pytest.mark.parametrize("status", [400, 429, 500, 501])
def test_a_response_of_the_service_itself_is_not_retried(
    server: Any, reply: Any, caller: Start, status: int
) -> None:
    server.script(reply(status=status))

    assert caller().call().json()["status"] == status
    assert len(server.received) == 1


def test_an_unreachable_upstream_is_reported_without_its_address(server: Any, caller: Start) -> None:
    port = closed_port()
    calling = caller(url=UpstreamUrl(f"http://127.0.0.1:{port}"))

    with capture_logs() as logged:
        response = calling.call(lambda it: it.get("/api/users/7", route="/api/users/{id}"))

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert str(port) not in response.text
    assert logged == [
        {
            "event": "upstream failed",
            "log_level": "warning",
            "upstream": "accounts",
            "method": "GET",
            "route": "/api/users/{id}",
            "error_type": "httpx2.ConnectError",
            "attempts": 3,
        }
    ]


def test_an_outage_is_not_amplified_by_retries(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(status=503))
    calling = caller(retries=2, breaker_open_s=0)

    assert {calling.call().status_code for _ in range(200)} == {503}

    # One request per call, and the ten retries that every worker has at first; 600 without a budget.
    assert len(server.received) == 200 + 10


def test_retries_of_a_partly_failing_upstream_are_a_share_of_its_successes(
    server: Any, reply: Any, caller: Start
) -> None:
    calling = caller(retries=2, breaker_open_s=0, retry_budget_ratio=0.2)
    server.script(*[reply(status=503)] * 30, reply())
    assert [calling.call().status_code for _ in range(20)] == [503] * 20
    assert len(server.received) == 30

    assert {calling.call().status_code for _ in range(10)} == {200}
    server.script(reply(status=503))
    assert {calling.call().status_code for _ in range(10)} == {503}

    # Ten successes allow two retries.
    assert len(server.received) == 30 + 10 + 10 + 2


def test_a_short_retry_after_is_honored(server: Any, reply: Any, caller: Start) -> None:
    past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    server.script(
        reply(status=503, headers={"Retry-After": "0"}),
        reply(status=503, headers={"Retry-After": past}),
        reply(),
    )

    assert caller().call().json()["status"] == 200
    assert len(server.received) == 3


@pytest.mark.parametrize(
    ("received", "returned"), [("120", "120"), ("9" * 400, "86400"), ("soon", "1"), ("-5", "1"), ("", "1")]
)
def test_retry_after_of_the_upstream_is_returned(
    server: Any, reply: Any, caller: Start, received: str, returned: str
) -> None:
    server.script(reply(status=503, headers={"Retry-After": received}))

    response = caller(retries=2).call()

    assert (response.status_code, response.headers["Retry-After"]) == (503, returned)
    assert len(server.received) == (1 if int(returned) > 5 else 3)


def test_an_unresponsive_upstream_causes_503(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(wait=True))

    response = caller(timeout_s=0.1).call(deadline_s=60)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert len(server.received) == 1


def test_the_deadline_of_the_request_causes_504(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(wait=True))

    response = caller(timeout_s=60).call(deadline_s=0.1)

    assert response.status_code == 504
    assert response.json()["detail"] == "The request timed out while waiting for accounts."
    assert len(server.received) == 1


def test_a_timed_out_call_releases_its_connection(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(wait=True), reply(wait=True), reply())
    calling = caller(max_connections=1, timeout_s=0.1, connect_timeout_s=0.1)

    assert [calling.call().status_code for _ in range(3)] == [503, 503, 200]


def test_no_call_is_made_after_the_deadline(server: Any, caller: Start) -> None:
    assert caller().call(deadline_s=-1).status_code == 504
    assert server.received == []


def test_there_is_no_retry_after_the_deadline(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(status=503, headers={"Retry-After": "30"}))

    response = caller(timeout_s=60).call(deadline_s=20)

    assert (response.status_code, response.headers["Retry-After"]) == (503, "30")
    assert len(server.received) == 1


def test_calls_succeed_when_the_upstream_has_recovered(server: Any, reply: Any, caller: Start) -> None:
    calling = caller()
    server.script(reply(drop=True))
    assert calling.call().status_code == 503

    server.script(reply())
    assert calling.call().status_code == 200


def test_an_invalid_header_causes_500(server: Any, caller: Start) -> None:
    response = caller().call(lambda it: it.get("/", headers={"X-Bad": "a\r\nb: c"}))

    assert response.status_code == 500
    assert server.received == []
