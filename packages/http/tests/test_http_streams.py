"""Limits for open event streams and WebSockets."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
import websockets.sync.client
from starkeel_testing import Service, wait_until
from websockets.exceptions import ConnectionClosed, InvalidStatus

WAIT_S = 20.0


@pytest.fixture(scope="module")
def sample(run_sample: Any) -> Iterator[Service]:
    with run_sample(
        MAX_STREAMS_PER_ADDRESS="3", MAX_STREAMS_PER_USER="2", TRUSTED_PROXIES="127.0.0.1"
    ) as service:
        yield service


@pytest.fixture
def streams() -> Iterator[ExitStack]:
    """Closes the streams of a test."""
    with ExitStack() as stack:
        yield stack


def headers(user: str, address: str) -> dict[str, str]:
    return {"X-User": user, "X-Forwarded-For": address}


def follow(sample: Service, streams: ExitStack, user: str, address: str) -> httpx2.Response:
    response: httpx2.Response = streams.enter_context(
        httpx2.stream("GET", f"{sample.url}/follow", headers=headers(user, address), timeout=WAIT_S)
    )
    if response.status_code != 200:
        response.read()
    return response


def connect(sample: Service, user: str, address: str) -> Any:
    url = f"{sample.url.replace('http', 'ws')}/follow-socket"
    return websockets.sync.client.connect(url, additional_headers=headers(user, address))


def test_streams_of_an_address_are_limited(sample: Service, streams: ExitStack) -> None:
    for number in range(3):
        assert follow(sample, streams, f"a{number}", "192.0.2.1").status_code == 200

    refused = follow(sample, streams, "a3", "192.0.2.1")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "10"
    assert refused.json()["detail"] == "The address has 3 open streams already. Close one of them."
    assert follow(sample, streams, "a3", "192.0.2.2").status_code == 200
    assert sample.metric("stream_refusals_total", kind="event_stream", reason="address") == 1
    assert sample.wait_for_log("stream limit exceeded", reason="address")["limit"] == 3


def test_streams_of_a_user_are_limited_whatever_their_kind(sample: Service, streams: ExitStack) -> None:
    assert follow(sample, streams, "b", "192.0.2.11").status_code == 200
    streams.enter_context(connect(sample, "b", "192.0.2.12")).recv(timeout=WAIT_S)

    assert follow(sample, streams, "b", "192.0.2.13").status_code == 429
    with pytest.raises((InvalidStatus, ConnectionClosed)):
        connect(sample, "b", "192.0.2.13").recv(timeout=WAIT_S)
    assert follow(sample, streams, "c", "192.0.2.13").status_code == 200


def test_a_stream_that_ends_makes_room(sample: Service) -> None:
    def is_served() -> bool:
        with ExitStack() as streams:
            return follow(sample, streams, "d", "192.0.2.20").status_code == 200

    for _ in range(6):
        wait_until(is_served, timeout_s=WAIT_S)
    wait_until(lambda: sample.metric("open_streams", kind="event_stream") == 0, timeout_s=WAIT_S)
    with ExitStack() as streams:
        assert follow(sample, streams, "d", "192.0.2.20").status_code == 200


def test_streams_of_trusted_proxies_are_not_limited_by_address(sample: Service, streams: ExitStack) -> None:
    for number in range(6):
        assert follow(sample, streams, f"e{number}", "127.0.0.1").status_code == 200
