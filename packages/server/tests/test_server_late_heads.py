"""Clients that send a request head slowly, or none at all."""

import re
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx2
import pytest

REQUEST = b"GET /pid HTTP/1.1\r\nHost: sample\r\n\r\n"
HALF = REQUEST[:30]
TIMEOUT_S = 1
CLOCK_TICK_MS = 20
"""At least one tick of the kernel's clock, which times what arrives."""


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    """Closes the connections of a test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def connect(clients: ExitStack) -> Callable[[Any], socket.socket]:
    """Return a function that connects to a sample."""

    def connected(sample: Any) -> socket.socket:
        port = int(sample.url.rpartition(":")[2])
        return clients.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))

    return connected


def send_request(client: socket.socket) -> bytes:
    """Send a request and return what has arrived once its response is complete."""
    client.sendall(REQUEST)
    received = b""
    while b'{"pid":' not in received or not received.endswith(b"}"):
        part = client.recv(4096)
        assert part, received
        received += part
    return received


def silent_ms(client: socket.socket) -> int:
    """Return the milliseconds since data has arrived: `tcpi_last_data_recv` of Linux."""
    info = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    milliseconds: int = struct.unpack_from("=I", info, 52)[0]
    return milliseconds


def is_closed(client: socket.socket, sent: bytes = b"") -> bool:
    """Return whether the server has closed a connection, after some bytes were sent."""
    client.setblocking(False)
    try:
        with suppress(ssl.SSLWantWriteError):
            client.send(sent) if sent else None
        return client.recv(4096) == b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True


def closed_heads(sample: Any) -> float:
    text = httpx2.get(f"{sample.admin}/metrics").text
    found = re.search(r'^starkeel_connections_closed_total\{reason="head"\} (\S+)$', text, re.MULTILINE)
    assert found
    return float(found[1])


@pytest.mark.parametrize(
    ("sent", "dripped"), [(b"", b""), (HALF, b""), (HALF, b"a")], ids=["silent", "half", "dripped"]
)
def test_the_first_head_has_a_timeout(samples: Any, connect: Any, sent: bytes, dripped: bytes) -> None:
    sample = samples.ready(HEAD_READ_TIMEOUT_SECONDS=TIMEOUT_S)
    client = connect(sample)
    client.sendall(sent)

    samples.wait_until(lambda: is_closed(client, dripped), timeout_s=20)

    assert closed_heads(sample) == 1
    sample.wait_for_log("connection limit exceeded", reason="head", limit=TIMEOUT_S)


def test_a_later_head_has_a_timeout_and_an_idle_connection_has_none(samples: Any, connect: Any) -> None:
    sample = samples.ready(HEAD_READ_TIMEOUT_SECONDS=TIMEOUT_S)
    idle, slow = connect(sample), connect(sample)
    for client in (idle, slow):
        send_request(client)
    for _ in range(2):
        # A connection whose head is late is closed only after the idle one has waited as long as it.
        samples.wait_until(lambda client=slow: silent_ms(client) >= CLOCK_TICK_MS)
        slow.sendall(HALF)
        samples.wait_until(lambda client=slow: is_closed(client), timeout_s=20)
        slow = connect(sample)
        send_request(slow)

    assert closed_heads(sample) == 2
    idle.settimeout(20)
    assert send_request(idle).startswith(b"HTTP/1.1 200 ")


def test_the_parts_of_many_heads_are_not_one_late_head(samples: Any, connect: Any) -> None:
    sample = samples.ready(HEAD_READ_TIMEOUT_SECONDS=TIMEOUT_S)
    busy, slow = connect(sample), connect(sample)
    slow.sendall(HALF)
    count = 0
    while not is_closed(slow):
        busy.settimeout(20)
        assert send_request(busy).startswith(b"HTTP/1.1 200 ")
        count += 1

    assert count > 10
    assert closed_heads(sample) == 1


def test_requests_in_progress_have_no_late_head(samples: Any, connect: Any) -> None:
    sample = samples.ready(HEAD_READ_TIMEOUT_SECONDS=TIMEOUT_S)
    answered, stream, body, slow = (connect(sample) for _ in range(4))
    answered.sendall(REQUEST.replace(b"/pid", b"/slow/4"))
    stream.sendall(REQUEST.replace(b"/pid", b"/events"))
    body.sendall(b"POST /body HTTP/1.1\r\nHost: sample\r\nContent-Length: 4\r\n\r\nha")
    sample.wait_for_log("slow began")
    slow.sendall(HALF)
    samples.wait_until(lambda: is_closed(slow), timeout_s=20)
    body.sendall(b"lf")

    assert body.recv(4096).startswith(b"HTTP/1.1 201 ")
    assert answered.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert stream.recv(4096).startswith(b"HTTP/1.1 200 ")
    assert closed_heads(sample) == 1


def test_a_head_over_tls_has_a_timeout(
    samples: Any, connect: Any, clients: ExitStack, certificate: Any
) -> None:
    files = {"TLS_CERT_FILE": certificate.cert, "TLS_KEY_FILE": certificate.key}
    sample = samples.start(HEAD_READ_TIMEOUT_SECONDS=TIMEOUT_S, **files)
    sample.wait_for_log("workers started")
    context = ssl.create_default_context(cafile=str(certificate.authority))
    context.keylog_filename = None  # type: ignore[assignment]  # of the environment

    def secured() -> socket.socket:
        return clients.enter_context(context.wrap_socket(connect(sample), server_hostname="localhost"))

    idle = secured()
    send_request(idle)
    handshake, silent, half = connect(sample), secured(), secured()
    handshake.sendall(b"\x16\x03\x01\x02")
    half.sendall(HALF)
    for client in (handshake, silent, half):
        samples.wait_until(lambda client=client: is_closed(client), timeout_s=20)

    assert closed_heads(sample) == 3
    idle.settimeout(20)
    assert send_request(idle).startswith(b"HTTP/1.1 200 ")
