"""Clients that keep connections, do not read, or send WebSocket data without end."""

import re
import resource
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

FILES = 600
"""Limit of open files: a worker then accepts 344 connections."""


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    """Closes the connections of a test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def connect(clients: ExitStack) -> Callable[..., socket.socket]:
    """Return a function that connects to a sample."""

    def connected(
        sample: Any, sent: bytes = b"", *, source: str = "127.0.0.1", receive_buffer: int | None = None
    ) -> socket.socket:
        host, port = sample.url.removeprefix("http://").split(":")
        client = clients.enter_context(socket.socket())
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(20)
        client.bind((source, 0))
        client.connect((host, int(port)))
        client.sendall(sent)
        return client

    return connected


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: sample\r\n\r\n".encode()


def metric(sample: Any, name: str) -> float:
    text = httpx2.get(f"{sample.admin}/metrics").text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def limited(samples: Any, **env: Any) -> Any:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))

    env = {"HEAD_READ_TIMEOUT_SECONDS": 75, **env}
    return samples.start(popen={"preexec_fn": limit}, **env).wait_until_ready()


def peak_mebibytes(samples: Any) -> float:
    status = [Path(f"/proc/{pid}/status").read_text() for pid in samples.processes()]
    return max(int(re.findall(r"VmHWM:\s+(\d+) kB", text)[0]) for text in status) / 1024


def is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        while client.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_a_client_that_reads_nothing_is_disconnected(samples: Any, connect: Any) -> None:
    sample = samples.ready(WRITE_TIMEOUT_SECONDS=1)
    for _ in range(20):
        connect(sample, request("/large") * 20, receive_buffer=4096)
    reader = connect(sample, request("/events"))

    samples.wait_until(lambda: metric(sample, "starkeel_open_connections") >= 20)
    samples.wait_until(lambda: metric(sample, "starkeel_open_connections") <= 3)
    # An event stream without events has nothing to write.
    assert not is_closed(reader)


@pytest.mark.parametrize("sent", [b"", b"GET /pid HTTP/1.1\r\nHost: sam", request("/pid")])
def test_idle_connections_do_not_keep_others_out(samples: Any, connect: Any, sent: bytes) -> None:
    sample = limited(samples)
    for _ in range(500):
        connect(sample, sent)

    for _ in range(5):
        assert httpx2.get(f"{sample.url}/health/live", timeout=20).status_code == 200
    samples.wait_until(lambda: metric(sample, "starkeel_open_connections") <= 344 // 2 + 5)
    assert metric(sample, 'starkeel_connections_closed_total{reason="address"}') > 100
    sample.wait_for_log("connection limit exceeded", reason="address", limit=344 // 2)
    assert sample.messages.count("connection limit exceeded") == 1
    assert sample.stop() == 0


def test_connections_in_use_are_kept(samples: Any, connect: Any) -> None:
    sample = samples.ready(MAX_CONNECTIONS_PER_ADDRESS=3)
    used = [connect(sample, request(path)) for path in ("/slow/5", "/slow/5", "/events", "/events")]
    sample.wait_for_log("slow began", count=2)
    idle = [connect(sample, request("/pid")) for _ in range(6)]

    samples.wait_until(lambda: all(map(is_closed, idle)))
    for client in used[:2]:
        client.settimeout(20)
        assert client.recv(65_536).startswith(b"HTTP/1.1 200 ")
    assert not any(map(is_closed, used[2:]))


def test_connections_of_a_trusted_proxy_are_kept(samples: Any, connect: Any) -> None:
    samples.edit(
        "app.py",
        "    return Litestar(handlers, ",
        "    from starkeel_asgi import pipeline_of\n"
        "    def trust(app): pipeline_of(app).config.is_trusted_peer = '127.0.0.1'.__eq__\n"
        "    return Litestar(handlers, on_startup=[trust], ",
    )
    sample = samples.ready(MAX_CONNECTIONS_PER_ADDRESS=3)
    idle = [connect(sample, request("/pid")) for _ in range(20)]
    other = [connect(sample, source="127.0.0.2") for _ in idle]

    samples.wait_until(lambda: sum(map(is_closed, other)) == 17)
    assert not any(map(is_closed, idle))


def test_the_longest_idle_connections_of_the_largest_address_are_closed(samples: Any, connect: Any) -> None:
    sample = limited(samples)
    few = [connect(sample, source="127.0.0.9") for _ in range(5)]
    for number in range(2, 5):
        for _ in range(130):
            connect(sample, source=f"127.0.0.{number}")

    samples.wait_until(lambda: metric(sample, "starkeel_open_connections") <= 344 - 344 // 8)
    assert httpx2.get(f"{sample.url}/health/live", timeout=20).status_code == 200
    sample.wait_for_log("connection limit exceeded", reason="total")
    assert not any(map(is_closed, few))


def upgrade(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: sample\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def frame(opcode: int, size: int, *, declared: int | None = None) -> bytes:
    """Return a masked frame, with `size` of the `declared` bytes that it has."""
    head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, declared or size)
    if (declared or size) < 126:
        head = bytes([0x80 | opcode, 0x80 | size])
    return head + bytes(4) + b"x" * size


def websocket(connect: Any, sample: Any) -> socket.socket:
    client: socket.socket = connect(sample, upgrade("/live"))
    received = b""
    while b"hello" not in received:
        received += client.recv(4096)
    return client


def send_until_closed(client: socket.socket, part: bytes, *, count: int) -> None:
    with suppress(OSError):
        for _ in range(count):
            client.sendall(part)


@pytest.mark.parametrize("kind", ["pings", "message", "fragments"])
def test_a_websocket_that_sends_without_end_is_closed(samples: Any, connect: Any, kind: str) -> None:
    sample = samples.ready()
    clients = [websocket(connect, sample) for _ in range(10)]
    before = peak_mebibytes(samples)
    part = b"x" * 131_072
    start = frame(2, 0, declared=16_000_000)
    if kind == "pings":
        start, part = b"", frame(9, 125) * 1000
    elif kind == "fragments":
        # Frames of a message that never ends.
        start, part = frame(1, 100)[:1].replace(b"\x81", b"\x01") + frame(1, 100)[1:], b""
        part = (b"\x00" + frame(0, 100)[1:]) * 1300
    for client in clients:
        client.sendall(start)
        send_until_closed(client, part, count=120)
        # In turn, as several at once could all send their 16 MB between two checks of a fast machine.
        samples.wait_until(partial(is_closed, client))

    assert metric(sample, 'starkeel_connections_closed_total{reason="websocket"}') == len(clients)
    # Less than half of the up to 160 MB that they have sent.
    assert peak_mebibytes(samples) - before < 60
    assert httpx2.get(f"{sample.url}/health/live", timeout=20).status_code == 200
    assert sample.stop() == 0


def test_a_websocket_message_that_is_too_large_closes_it(samples: Any, connect: Any) -> None:
    sample = samples.ready(MAX_WEBSOCKET_MESSAGE_BYTES=2048)
    client = websocket(connect, sample)
    client.sendall(frame(1, 2000))
    received = b""
    while len(received) < 2004:
        received += client.recv(4096)
    client.sendall(frame(1, 2049))

    closed = client.recv(4096)
    assert closed[:1] == b"\x88"
    assert struct.unpack("!H", closed[2:4]) == (1009,)


def test_an_application_without_websockets_does_not_upgrade(samples: Any, connect: Any) -> None:
    for handler in ("flood_socket", "live"):
        samples.edit("app.py", f", {handler}", "")
    sample = samples.ready()

    answer = connect(sample, upgrade("/live")).recv(4096)

    assert answer.startswith(b"HTTP/1.1 404 ")


def test_websockets_of_many_messages_are_kept(samples: Any, connect: Any) -> None:
    sample = samples.ready(MAX_WEBSOCKET_MESSAGE_BYTES=1024)
    client = websocket(connect, sample)
    for _ in range(2000):
        client.sendall(frame(1, 1000) + frame(9, 4))
        received = 0
        while received < 1000:
            received += len(client.recv(65_536))

    assert not is_closed(client)
