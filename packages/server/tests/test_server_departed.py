"""Clients that leave before they have their response: their requests end, or never begin."""

import re
import socket
from contextlib import ExitStack
from typing import Any

import httpx2

REQUESTS = 300


def send(stack: ExitStack, sample: Any, path: str, *, count: int = 1) -> None:
    host, port = sample.url.removeprefix("http://").split(":")
    for _ in range(count):
        client = stack.enter_context(socket.create_connection((host, int(port)), timeout=20))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: sample\r\n\r\n".encode())


def hits(sample: Any) -> int:
    metrics = httpx2.get(f"{sample.admin}/metrics").text
    found = re.search(r"^sample_hits_total (\d+)", metrics, re.MULTILINE)
    return int(found[1]) if found else 0


def test_the_work_for_clients_that_left_ends(samples: Any) -> None:
    sample = samples.ready()
    with ExitStack() as clients:
        send(clients, sample, "/slow/3600", count=50)
        sample.wait_for_log("slow began", count=50)

    sample.wait_for_log("slow ended", count=50)
    assert sample.stop() == 0


def test_requests_of_clients_that_left_before_never_begin(samples: Any) -> None:
    """Each would take 20 ms of the event loop, which is blocked until the clients have left."""
    sample = samples.ready()
    with ExitStack() as patient:
        send(patient, sample, "/blocked")
        sample.wait_for_log("blocked began")
        with ExitStack() as clients:
            send(clients, sample, "/busy/0.02", count=REQUESTS)
        (samples.directory / "unblocked").touch()

        assert httpx2.get(f"{sample.url}/health/live", timeout=20).status_code == 200
    # The last of its client, behind all of them.
    assert httpx2.get(f"{sample.url}/pid", timeout=20).status_code == 200
    assert hits(sample) < REQUESTS // 2
    assert sample.stop() == 0
