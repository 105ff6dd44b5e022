"""A client that resumes after a cut receives each event exactly once and in order."""

import json
import random
import socket as sockets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest
from starkeel_testing import Service, running, wait_until
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.sync.client import connect

ORDERS, CUTS, WORKERS = 30, 6, 2
WAIT_S = 60.0


class Follower:
    """Follows a user's orders through cuts of its connection; `events` holds all that it has received."""

    def __init__(self, url: Callable[[], str], headers: dict[str, str]) -> None:
        self._url = url
        self._headers = headers
        self._random = random.Random(7)
        self.events: list[tuple[int, str]] = []
        self.cuts = 0
        self.is_open = threading.Event()
        self.is_stopped = threading.Event()

    def run(self) -> None:
        """Follow until stopped, each connection until it is cut."""
        while not self.is_stopped.is_set():
            with suppress(OSError, WebSocketException, InvalidHandshake):
                self.follow()

    def follow(self) -> None:
        raise NotImplementedError

    def add(self, position: str, order: Any) -> bool:
        """Add an event; return whether to cut the connection now."""
        self.events.append((int(position), f"{order['id']} {order['quantity']}"))
        is_cut = self.cuts < CUTS and self._random.random() < 0.3
        self.cuts += is_cut
        return is_cut

    @property
    def last(self) -> str:
        return str(self.events[-1][0]) if self.events else "0"


class EventStreamFollower(Follower):
    def follow(self) -> None:
        parts = urlsplit(self._url())
        with sockets.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=1) as client:
            lines = "".join(f"{name}: {value}\r\n" for name, value in self._headers.items())
            client.sendall(
                f"GET /api/orders/events HTTP/1.0\r\n{lines}Last-Event-ID: {self.last}\r\n\r\n".encode()
            )
            received = b""
            while not self.is_stopped.is_set():
                with suppress(TimeoutError):
                    if not (part := client.recv(self._random.randint(1, 2000))):
                        return
                    received += part
                *whole, received = received.replace(b"\r\n", b"\n").split(b"\n\n")
                for event in whole:
                    self.is_open.set()
                    fields = dict(line.split(": ", 1) for line in event.decode().split("\n") if ": " in line)
                    if "id" in fields and self.add(fields["id"], json.loads(fields["data"])):
                        # Events that were sent and not read yet are lost here.
                        return


class WebSocketFollower(Follower):
    def follow(self) -> None:
        url = f"{self._url().replace('http', 'ws', 1)}/api/orders/live?last_event_id={self.last}"
        with connect(url, additional_headers=self._headers, open_timeout=5, close_timeout=0) as socket:
            self.is_open.set()
            while not self.is_stopped.is_set():
                with suppress(TimeoutError):
                    message = json.loads(socket.recv(timeout=1))
                    if message["type"] != "heartbeat" and self.add(message["id"], message["order"]):
                        socket.socket.shutdown(sockets.SHUT_RDWR)
                        return


@contextmanager
def following(follower: Follower) -> Iterator[None]:
    thread = threading.Thread(target=follower.run)
    thread.start()
    try:
        assert follower.is_open.wait(WAIT_S)
        yield
    finally:
        follower.is_stopped.set()
        thread.join(WAIT_S)


def place(service: Service, person: Any, quantity: int) -> str:
    """Place an order, repeating the request until there is a response."""
    body, headers = {"product_type": "oak-plank", "quantity": quantity}, person.placing

    def response() -> httpx2.Response | None:
        with suppress(httpx2.TransportError):
            found = httpx2.post(f"{service.url}/api/orders", json=body, headers=headers, timeout=WAIT_S)
            return found if found.status_code == 201 else None
        return None

    return f"{wait_until(response, timeout_s=WAIT_S).json()['id']} {quantity}"


def kill_workers(service: Service) -> None:
    """Kill all processes but the main one, which starts others."""
    main = psutil.Process(service.process.pid)
    killed = main.children()
    assert len(killed) >= WORKERS
    for process in killed:
        process.kill()
    wait_until(
        lambda: (
            len({child.pid for child in main.children()} - {process.pid for process in killed}) >= WORKERS
        ),
        timeout_s=WAIT_S,
    )


def received(follower: Follower, expected: list[str]) -> None:
    """Wait for the last event, and compare all with those that are expected."""
    with suppress(AssertionError):
        wait_until(lambda: len(follower.events) >= len(expected), timeout_s=WAIT_S)
    assert [order for _, order in follower.events] == expected
    positions = [position for position, _ in follower.events]
    assert positions == sorted(set(positions))


@pytest.mark.parametrize("kind", [EventStreamFollower, WebSocketFollower])
def test_a_client_whose_connection_is_cut_receives_each_event_once(
    service: Service, fresh: Any, kind: type[Follower]
) -> None:
    follower = kind(lambda: service.url, fresh.headers)
    with following(follower):
        expected = [place(service, fresh, number + 1) for number in range(ORDERS)]
        received(follower, expected)

    assert follower.cuts == CUTS


@pytest.mark.parametrize("kind", [EventStreamFollower, WebSocketFollower])
def test_a_client_receives_each_event_once_though_workers_are_killed(
    env_of: Callable[[str], dict[str, str]], database_url: str, fresh: Any, kind: type[Follower]
) -> None:
    with running("orders", env_of(database_url) | {"WORKERS": str(WORKERS)}) as service:
        follower = kind(lambda: service.url, fresh.headers)
        expected: list[str] = []
        with following(follower):
            for number in range(ORDERS):
                expected.append(place(service, fresh, number + 1))
                if number in {8, 17}:
                    kill_workers(service)
            received(follower, expected)
