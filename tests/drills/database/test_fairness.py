"""One user with 200 connections, and another user's latency meanwhile."""

import time
from typing import Any

import httpx2
import pytest
from starkeel_testing import Service, wait_until

from ...support.open_loop import Plan, generating
from ...support.orders import Customer
from ...support.report import report

pytestmark = [pytest.mark.timeout(300), pytest.mark.alone]

CONNECTIONS, READS, WARM_UP = 200, 1000, 20
PATH = "/api/orders?limit=1"
MOST = 0.5
"""Maximum of the other user's 99th percentile, as a share of the time in which all requests of the busy user
are served once: the time that each request would wait in one queue for all users."""


def test_a_user_with_200_connections_does_not_delay_another(
    customer: Customer, postgres_url: str, capsys: Any
) -> None:
    other_customer = customer.another()
    # All of the busy user's requests wait; on a slow machine for longer than by default.
    with (
        customer.running_orders(postgres_url, LOAD_MAX_WAIT_SECONDS="20") as service,
        customer.running_orders(postgres_url) as neighbour,
    ):
        for each in (customer, other_customer):
            assert each.place(service.client).status_code == 201
        alone = latencies(service, other_customer)
        headers = "".join(f"{name}: {value}\r\n" for name, value in customer.headers.items())
        # In a process of its own: in this one it would delay what is measured.
        plan = Plan(service.url, [("GET", PATH)], kept=CONNECTIONS, headers=headers)
        with generating(plan, niceness=19) as busy:
            wait_until(lambda: service.metric("http_requests_in_flight") > CONNECTIONS / 2, timeout_s=20)
            began = time.monotonic()
            beside = latencies(service, other_customer)
            ended = time.monotonic()
            # What the machine's processors add to a request that shares no server with the busy user's.
            elsewhere = latencies(neighbour, other_customer)
            load = busy.result()
        wait_until(lambda: service.metric("http_requests_in_flight") == 0, timeout_s=20)
    rate = len(load.all(since=began - load.began, until=ended - load.began)) / (ended - began)
    share = percentile(beside, 0.99) / (CONNECTIONS / rate)
    report(
        capsys,
        f"another user with {CONNECTIONS} connections",
        alone_ms=_shown(alone),
        beside_ms=_shown(beside),
        on_another_server_ms=_shown(elsewhere),
        times_of_p99_alone=round(percentile(beside, 0.99) / percentile(alone, 0.99), 1),
        times_of_p99_on_another_server=round(percentile(beside, 0.99) / percentile(elsewhere, 0.99), 1),
        share_of_one_queue=round(share, 2),
        others_per_second=round(rate),
    )
    assert {sent.status for sent in load.all()} == {200}
    assert share < MOST


def latencies(service: Service, customer: Customer) -> list[float]:
    """Return the seconds that each of a user's reads took, one after the other."""
    taken = []
    with httpx2.Client(base_url=service.url, timeout=30, trust_env=False) as client:
        for _ in range(WARM_UP + READS):
            began = time.monotonic()
            assert client.get(PATH, headers=customer.headers).status_code == 200
            taken.append(time.monotonic() - began)
    return taken[WARM_UP:]


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def _shown(values: list[float]) -> str:
    return f"p50 {percentile(values, 0.5) * 1000:.1f}, p99 {percentile(values, 0.99) * 1000:.1f}"
