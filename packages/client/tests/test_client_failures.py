"""Upstreams that fail: what is repeated, how often, until when, and what the caller gets."""

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
def test_an_idempotent_call_is_repeated_until_it_is_answered(
    server: Any, told: Any, caller: Start, status: int
) -> None:
    server.tell(told(status=status), told(drops=True), told(half=True), told(body=b"at last"))

    answer = caller(retries=3).call()

    assert (answer.status_code, answer.json()["body"]) == (200, "at last")
    assert len(server.seen) == 4


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_repetitions_are_bounded(server: Any, told: Any, caller: Start, method: str) -> None:
    server.tell(told(status=503))

    answer = caller(retries=2).call(lambda it: it.request(method, "/"))

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["detail"] == "accounts does not answer at the moment."
    assert [seen.method for seen in server.seen] == [method] * 3


def test_no_repetitions_where_none_are_wanted(server: Any, told: Any, caller: Start) -> None:
    server.tell(told(status=503))

    assert caller(retries=0).call().status_code == 503
    assert len(server.seen) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("how", [{"status": 503}, {"drops": True}, {"half": True}])
def test_what_may_not_be_done_twice_is_not_repeated(
    server: Any, told: Any, caller: Start, method: str, how: dict[str, Any]
) -> None:
    server.tell(told(**how))

    assert caller().call(lambda it: it.request(method, "/", json={})).status_code == 503
    assert len(server.seen) == 1


def test_a_call_with_an_idempotency_key_is_repeated_as_it_was(server: Any, told: Any, caller: Start) -> None:
    server.tell(told(status=503), told(drops=True), told(status=201))

    answer = caller().call(lambda it: it.post("/", json={"a": 1}, headers={"idempotency-key": "k"}))

    assert answer.json()["status"] == 201
    assert [(seen.body, seen.headers["Idempotency-Key"]) for seen in server.seen] == [(b'{"a":1}', "k")] * 3


@pytest.mark.parametrize("status", [400, 429, 500, 501])
def test_an_answer_of_the_service_itself_is_not_repeated(
    server: Any, told: Any, caller: Start, status: int
) -> None:
    server.tell(told(status=status))

    assert caller().call().json()["status"] == status
    assert len(server.seen) == 1


def test_an_upstream_that_is_away_is_named_but_not_its_address(server: Any, caller: Start) -> None:
    port = closed_port()
    calling = caller(url=UpstreamUrl(f"http://127.0.0.1:{port}"))

    with capture_logs() as logged:
        answer = calling.call(lambda it: it.get("/api/users/7", route="/api/users/{id}"))

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert str(port) not in answer.text
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


def test_an_outage_is_not_multiplied(server: Any, told: Any, caller: Start) -> None:
    server.tell(told(status=503))
    calling = caller(retries=2)

    assert {calling.call().status_code for _ in range(100)} == {503}

    # Each call, a reserve of ten, and a fifth of the calls; without a budget it would be 300.
    assert len(server.seen) <= 100 + 10 + 20


def test_a_retry_after_that_fits_is_waited_for(server: Any, told: Any, caller: Start) -> None:
    past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    server.tell(
        told(status=503, headers={"Retry-After": "0"}),
        told(status=503, headers={"Retry-After": past}),
        told(),
    )

    assert caller().call().json()["status"] == 200
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("said", "passed_on"), [("120", "120"), ("9" * 400, "86400"), ("soon", "1"), ("-5", "1"), ("", "1")]
)
def test_what_the_upstream_asks_for_is_passed_on(
    server: Any, told: Any, caller: Start, said: str, passed_on: str
) -> None:
    server.tell(told(status=503, headers={"Retry-After": said}))

    answer = caller(retries=2).call()

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, passed_on)
    assert len(server.seen) == (1 if int(passed_on) > 5 else 3)


def test_an_upstream_that_never_answers_is_away(server: Any, told: Any, caller: Start) -> None:
    server.tell(told(waits=True))

    answer = caller(timeout_s=0.1).call(deadline_s=60)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert len(server.seen) == 1


def test_a_request_whose_time_runs_out_meanwhile_is_504(server: Any, told: Any, caller: Start) -> None:
    server.tell(told(waits=True))

    answer = caller(timeout_s=60).call(deadline_s=0.1)

    assert answer.status_code == 504
    assert answer.json()["detail"] == "The time for this request ran out while waiting for accounts."
    assert len(server.seen) == 1


def test_a_call_that_was_given_up_frees_its_connection(server: Any, told: Any, caller: Start) -> None:
    server.tell(told(waits=True), told(waits=True), told())
    calling = caller(max_connections=1, timeout_s=0.1, connect_timeout_s=0.1)

    assert [calling.call().status_code for _ in range(3)] == [503, 503, 200]


def test_a_request_whose_time_is_over_calls_nobody(server: Any, caller: Start) -> None:
    assert caller().call(deadline_s=-1).status_code == 504
    assert server.seen == []


def test_a_pause_that_outlasts_the_request_is_not_begun(server: Any, told: Any, caller: Start) -> None:
    server.tell(told(status=503, headers={"Retry-After": "30"}))

    answer = caller(timeout_s=60).call(deadline_s=20)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert len(server.seen) == 1


def test_a_call_goes_well_again_when_the_upstream_is_back(server: Any, told: Any, caller: Start) -> None:
    calling = caller()
    server.tell(told(drops=True))
    assert calling.call().status_code == 503

    server.tell(told())
    assert calling.call().status_code == 200


def test_a_header_that_cannot_be_sent_is_our_fault(server: Any, caller: Start) -> None:
    answer = caller().call(lambda it: it.get("/", headers={"X-Bad": "a\r\nb: c"}))

    assert answer.status_code == 500
    assert server.seen == []
