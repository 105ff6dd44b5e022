"""Requests that are refused under load, on a process."""

import asyncio
from collections import Counter
from typing import Any

import httpx2
import pytest
from starkeel_http import load_group, load_priority
from starkeel_testing import wait_until

from .conftest import Run

BURST = 150


async def burst(url: str, path: str) -> list[httpx2.Response]:
    limits = httpx2.Limits(max_connections=BURST)
    async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False) as client:
        return list(await asyncio.gather(*(client.get(path) for _ in range(BURST))))


def test_what_would_wait_for_too_long_is_a_problem_with_a_time_to_return(run_sample: Run) -> None:
    refused: list[httpx2.Response] = []

    def is_refused() -> bool:
        responses = asyncio.run(burst(service.url, "/compute"))
        assert {response.status_code for response in responses} <= {200, 503}
        refused.extend(response for response in responses if response.status_code == 503)
        return len(refused) > BURST // 4

    with run_sample(LOAD_MAX_WAIT_SECONDS="0.05") as service:
        wait_until(is_refused, timeout_s=60)
        shed = service.metric("load_shed_requests_total")
        assert service.client.get("/health/live").status_code == 200

    problem = refused[0].json()
    assert refused[0].headers["content-type"] == "application/problem+json"
    assert (problem["status"], problem["title"]) == (503, "Service Unavailable")
    assert problem["detail"] == "The service is overloaded. Send the request again later."
    assert problem["instance"] == "/compute"
    times = Counter(int(response.headers["retry-after"]) for response in refused)
    assert set(times) <= {1, 2, 3, 4, 5}
    assert len(times) > 1
    assert shed == len(refused)


def test_without_load_shedding_all_requests_wait(run_sample: Run) -> None:
    with run_sample(LOAD_SHEDDING="false", LOAD_MAX_WAIT_SECONDS="0.05") as service:
        responses = asyncio.run(burst(service.url, "/compute"))

    assert [response.status_code for response in responses] == [200] * BURST


def test_a_priority_that_does_not_exist_is_rejected() -> None:
    unknown: Any = "urgent"
    with pytest.raises(ValueError, match="'urgent'; it must be one of low, normal, high"):
        load_priority(unknown)


def test_a_name_of_a_group_that_a_metric_does_not_allow_is_rejected() -> None:
    with pytest.raises(ValueError, match="'Slow reports' is not a valid name"):
        load_group("Slow reports")
