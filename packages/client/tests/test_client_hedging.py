"""Hedged reads: a second request when the first one takes long."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY
from starkeel_testing import wait_until

Start = Callable[..., Any]


def hedged(winner: str) -> float:
    labels = {"upstream": "accounts", "winner": winner}
    return REGISTRY.get_sample_value("upstream_hedged_requests_total", labels) or 0.0


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, {"upstream": "accounts", **labels}) or 0.0


def test_a_slow_read_is_sent_again_and_the_first_response_wins(
    server: Any, reply: Any, caller: Start
) -> None:
    server.script(reply(wait=True), reply(body=b"second"))
    calling = caller(hedge_reads=True, hedge_delay_s=0.02, timeout_s=60)
    before, cancelled = hedged("second"), value("upstream_requests_total", outcome="cancelled")

    response = calling.call()

    assert response.json()["body"] == "second"
    assert len(server.received) == 2
    assert hedged("second") == before + 1
    # The other request was cancelled, and its slot is free.
    assert value("upstream_requests_total", outcome="cancelled") == cancelled + 1
    wait_until(lambda: value("upstream_requests_in_flight") == 0, timeout_s=20)


def test_the_first_request_wins_if_it_is_answered_first(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(wait=True, body=b"first"), reply(status=503))
    calling = caller(hedge_reads=True, hedge_delay_s=0.02, timeout_s=60)
    before = hedged("first")

    async def use(client: Any) -> Any:
        import anyio

        async def answer() -> None:
            await anyio.to_thread.run_sync(server.wait_for_requests, 2)
            await anyio.sleep(0.1)
            server.go_on.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer)
            return await client.get("/")

    assert calling.call(use).json()["body"] == "first"
    assert hedged("first") == before + 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_only_reads_are_hedged(server: Any, reply: Any, caller: Start, method: str) -> None:
    server.script(reply(wait=True))
    calling = caller(hedge_reads=True, hedge_delay_s=0.001, timeout_s=0.5, connect_timeout_s=0.5)

    response = calling.call(
        lambda it: it.request(method, "/", headers={"Idempotency-Key": "k"}, json={"a": 1})
    )

    assert response.status_code == 503
    assert len(server.received) == 1


def test_reads_are_not_hedged_by_default(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(wait=True))

    assert caller(timeout_s=0.5, connect_timeout_s=0.5).call().status_code == 503
    assert len(server.received) == 1


def test_hedged_requests_are_within_the_retry_budget(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(wait=True))
    calling = caller(
        hedge_reads=True,
        hedge_delay_s=0.001,
        timeout_s=0.1,
        connect_timeout_s=0.1,
        breaker_open_s=0,
    )
    refused = value("upstream_retries_refused_total")

    assert {calling.call().status_code for _ in range(40)} == {503}

    # Requests that time out are no success: only the first ten are sent again.
    server.go_on.set()
    wait_until(lambda: len(server.received) >= 50, timeout_s=20)
    assert len(server.received) == 40 + 10
    assert value("upstream_retries_refused_total") == refused + 30


def test_hedging_takes_no_slot_that_others_wait_for(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(wait=True))
    calling = caller(
        hedge_reads=True, hedge_delay_s=0.001, max_requests=1, timeout_s=0.3, connect_timeout_s=0.3
    )

    assert calling.call().status_code == 503
    assert len(server.received) == 1


def test_the_delay_is_the_95th_percentile_of_the_route(server: Any, reply: Any, caller: Start) -> None:
    calling = caller(hedge_reads=True, timeout_s=60)
    for _ in range(40):
        calling.call(lambda it: it.get("/", route="/fast"))
    assert len(server.received) == 40
    received = len(server.received)

    server.script(reply(wait=True), reply(body=b"second"))
    response = calling.call(lambda it: it.get("/", route="/fast"))

    assert response.json()["body"] == "second"
    assert len(server.received) == received + 2


def test_an_unknown_route_is_not_hedged_by_the_durations_of_others(
    server: Any, reply: Any, caller: Start
) -> None:
    calling = caller(hedge_reads=True, timeout_s=0.5, connect_timeout_s=0.5, retries=0)
    for _ in range(40):
        calling.call(lambda it: it.get("/", route="/fast"))
    received = len(server.received)

    server.script(reply(wait=True))
    assert calling.call(lambda it: it.get("/", route="/slow")).status_code == 503

    assert len(server.received) == received + 1


def test_failed_requests_of_a_hedged_call_are_retried(server: Any, reply: Any, caller: Start) -> None:
    server.script(reply(status=503), reply(drop=True), reply(body=b"third"))

    response = caller(hedge_reads=True, hedge_delay_s=30, timeout_s=60).call()

    assert response.json()["body"] == "third"
    assert len(server.received) == 3


def test_an_invalid_header_of_a_hedged_call_causes_500(server: Any, caller: Start) -> None:
    calling = caller(hedge_reads=True, hedge_delay_s=30, timeout_s=60)

    assert calling.call(lambda it: it.get("/", headers={"X-Bad": "a\r\nb: c"})).status_code == 500
    assert server.received == []
