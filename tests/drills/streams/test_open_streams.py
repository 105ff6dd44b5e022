"""Thousands of open event streams or WebSockets on one worker, beside requests and events."""

import asyncio
import os
import resource
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import psutil
import pytest
from starkeel_auth import SigningKeys, generate_private_key_pem
from starkeel_testing import Service, running

from ...support.orders import Customer
from ...support.report import report

pytestmark = [pytest.mark.timeout(600), pytest.mark.alone]

STREAMS = int(os.environ.get("DRILL_STREAMS", "5000"))
AT_ONCE, REQUESTS, ORDERS = 32, 600, 30
"""Streams that are opened at a time, requests beside them, and orders whose events are awaited."""
IDLE_S = 10.0
SOURCES = 8
"""Client addresses: each has fewer ports than the machine has streams."""
ISSUER = {"JWT_ISSUER": "https://accounts.example.com", "JWT_AUDIENCE": "shop"}
ROOM = {
    "MAX_CONNECTIONS_PER_WORKER": "16384",
    "MAX_CONNECTIONS_PER_ADDRESS": "8192",
    "MAX_STREAMS_PER_ADDRESS": "8192",
}
UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


class Kind(NamedTuple):
    """Request that opens a stream, and what shows that it is open."""

    path: str
    status: bytes
    headers: str
    is_open: bytes


KINDS = {
    "event streams": Kind("/api/orders/events", b"200", "", b"\r\n\r\n"),
    "WebSockets": Kind("/api/orders/live", b"101", UPGRADE, b"\r\n\r\n"),
}


class Streams:
    """Open streams, each of another user; what they receive is counted and dropped."""

    def __init__(self, port: int, keys: SigningKeys, kind: Kind) -> None:
        self._port = port
        self._keys = keys
        self._kind = kind
        self.transports: list[asyncio.Transport] = []
        self.lost = 0

    def token(self, user: str) -> str:
        now = int(time.time())
        claims = {"iss": ISSUER["JWT_ISSUER"], "aud": ISSUER["JWT_AUDIENCE"], "iat": now, "exp": now + 3600}
        return self._keys.sign({**claims, "sub": user, "jti": str(uuid4()), "scope": "orders:read"})

    async def open(self, number: int) -> None:
        """Open a stream and wait until it has started."""
        user = str(uuid4())
        client = Client(self, self._kind)
        source = f"127.0.0.{1 + number % SOURCES}"
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: client, "127.0.0.1", self._port, local_addr=(source, 0)
        )
        head = (
            f"GET {self._kind.path} HTTP/1.1\r\nHost: drill\r\nAuthorization: Bearer {self.token(user)}\r\n"
        )
        transport.write(f"{head}{self._kind.headers}\r\n".encode())
        await asyncio.wait_for(client.opened, 60)
        self.transports.append(transport)


class Client(asyncio.Protocol):
    def __init__(self, streams: Streams, kind: Kind) -> None:
        self._streams = streams
        self._kind = kind
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = b""

    def data_received(self, data: bytes) -> None:
        if self.opened.done():
            return
        self._head += data
        if self._kind.is_open in self._head:
            assert self._head.split(b" ", 2)[1] == self._kind.status, self._head
            self.opened.set_result(None)
            self._head = b""

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(exc or ConnectionError(self._head))
        self._streams.lost += 1


@pytest.fixture
def signing_pem() -> str:
    return generate_private_key_pem()


@pytest.fixture
def customer(tmp_path: Path, signing_pem: str) -> Iterator[Customer]:
    env = {"DATABASE_URL": f"sqlite:///{tmp_path}/accounts.db", "JWT_PRIVATE_KEY": signing_pem, **ISSUER}
    with running("accounts", env | {"RATE_LIMIT_PROFILE": "10000/second"}) as accounts:
        yield Customer(accounts)


def _worker(service: Service) -> psutil.Process:
    children = psutil.Process(service.process.pid).children(recursive=True)
    return max(children, key=lambda child: child.memory_info().rss)


async def _ms(count: int, call: Callable[[], Awaitable[Any]]) -> list[float]:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await call()
        times.append((time.perf_counter() - began) * 1000)
    return times


def _percentiles(times: list[float]) -> str:
    cuts = statistics.quantiles(times, n=100)
    return f"{cuts[49]:.1f}/{cuts[98]:.1f} ms"


class Requests:
    """A kept connection on which the customer lists her orders."""

    def __init__(self, service: Service, customer: Customer) -> None:
        lines = "".join(f"{name}: {text}\r\n" for name, text in customer.headers.items())
        self._request = f"GET /api/orders?limit=1 HTTP/1.1\r\nHost: drill\r\n{lines}\r\n".encode()
        self._port = int(service.url.rpartition(":")[2])

    async def run(self, count: int) -> list[float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)

        async def read() -> None:
            writer.write(self._request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head, head
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.partition(b":")[2]))

        await _ms(20, read)
        try:
            return await _ms(count, read)
        finally:
            writer.close()


async def _event_ms(service: Service, customer: Customer) -> list[float]:
    """Place orders, and return the milliseconds from each response to its event on a stream."""
    port = int(service.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = "".join(f"{name}: {text}\r\n" for name, text in customer.headers.items())
    writer.write(f"GET /api/orders/events HTTP/1.1\r\nHost: drill\r\n{lines}\r\n".encode())
    await reader.readuntil(b": listening")

    async def order() -> None:
        placed = await asyncio.to_thread(customer.place, service.client)
        assert placed.status_code == 201, placed.text
        async with asyncio.timeout(60):
            while not (await reader.readline()).startswith(b"data: "):
                pass

    try:
        return await _ms(ORDERS, order)
    finally:
        writer.close()


async def _drill(service: Service, customer: Customer, streams: Streams, capsys: Any, name: str) -> None:
    worker, requests = _worker(service), Requests(service, customer)
    alone, event_alone = await requests.run(REQUESTS), await _event_ms(service, customer)
    rss_before = worker.memory_info().rss
    began = time.perf_counter()
    for first in range(0, STREAMS, AT_ONCE):
        await asyncio.gather(*(streams.open(first + n) for n in range(min(AT_ONCE, STREAMS - first))))
    opening_s = time.perf_counter() - began
    cpu_before = sum(worker.cpu_times()[:2])
    await asyncio.sleep(IDLE_S)
    idle = (sum(worker.cpu_times()[:2]) - cpu_before) / IDLE_S
    rss = worker.memory_info().rss
    beside, event_beside = await requests.run(REQUESTS), await _event_ms(service, customer)
    assert streams.lost == 0
    report(
        capsys,
        f"{STREAMS} {name}",
        opened=f"{STREAMS / opening_s:.0f}/s",
        memory_of_each=f"{(rss - rss_before) / STREAMS / 1024:.1f} KiB",
        idle_cpu=f"{idle * 100:.1f} %",
        request_p50_and_p99=f"{_percentiles(alone)} alone",
        beside=_percentiles(beside),
        order_to_event=f"{_percentiles(event_alone)} alone",
        event_beside=_percentiles(event_beside),
    )
    for transport in streams.transports:
        transport.abort()


@pytest.mark.parametrize("name", KINDS)
def test_open_streams_leave_room_for_requests(
    customer: Customer, postgres_url: str, signing_pem: str, name: str, capsys: Any
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    kind, keys = KINDS[name], SigningKeys.from_pem(signing_pem)
    metric = "websocket" if name == "WebSockets" else "event_stream"
    with customer.running_orders(postgres_url, **ROOM, **ISSUER) as service:
        streams = Streams(int(service.url.rpartition(":")[2]), keys, kind)
        asyncio.run(_drill(service, customer, streams, capsys, name))
        assert service.metric("stream_refusals_total", kind=metric, reason="total") == 0
