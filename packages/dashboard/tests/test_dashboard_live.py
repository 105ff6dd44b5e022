"""Live updates by server-sent events."""

import socket
import threading
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx2
import pytest
from starkeel_testing import wait_until

from .conftest import Running, Start
from .messages import PROTOBUF, span, traces


def test_a_change_is_announced(running: Running) -> None:
    with running.client.stream("GET", "/live") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        assert next(lines) == "retry: 2000"
        assert next(lines) == ""

        with httpx2.Client(base_url=running.url, trust_env=False) as other:
            headers = {"Content-Type": PROTOBUF}
            assert other.post("/v1/traces", content=traces(span(21)), headers=headers).status_code == 200

        assert next(lines) == "event: change"


def opened(url: str) -> socket.socket:
    """Return a connection that has requested live updates, and the beginning of the response."""
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port or 80), timeout=30)
    connection.sendall(f"GET /live HTTP/1.1\r\nHost: {address.netloc}\r\n\r\n".encode())
    return connection


def status(connection: socket.socket) -> bytes:
    return connection.recv(12)[9:12]


def test_a_page_that_was_closed_makes_room_for_another(running: Running) -> None:
    with ExitStack() as stack:
        readers = [stack.enter_context(opened(running.url)) for _ in range(64)]
        assert {status(reader) for reader in readers} == {b"200"}

        def is_refused() -> bool:
            with opened(running.url) as further:
                return status(further) == b"503"

        wait_until(is_refused, timeout_s=20, what="a refusal")

    def is_accepted() -> bool:
        with opened(running.url) as further:
            return status(further) == b"200"

    wait_until(is_accepted, timeout_s=60, what="a free place")


@pytest.mark.parametrize("pages", [3])
def test_it_stops_while_pages_are_open(start: Start, pages: int) -> None:
    running = start()
    ended = threading.Barrier(pages + 1, timeout=30)

    def read() -> None:
        with httpx2.Client(base_url=running.url, timeout=60, trust_env=False) as client:
            with client.stream("GET", "/live") as response:
                ended.wait()
                for _ in response.iter_lines():
                    pass
            ended.wait()

    threads = [threading.Thread(target=read, daemon=True) for _ in range(pages)]
    for thread in threads:
        thread.start()
    ended.wait()

    running.process.terminate()

    assert running.process.wait(20) == 0
    ended.wait()
