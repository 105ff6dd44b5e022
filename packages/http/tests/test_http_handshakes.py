"""WebSocket handshakes: origins of browsers' pages, and extensions."""

import os
import socket as sockets
from collections.abc import Iterator
from typing import Any

import pytest
from starkeel_testing import Service
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

WAIT_S = 30.0
ALLOWED = "https://shop.example.com"


@pytest.fixture(scope="module")
def sample(run_sample: Any) -> Iterator[Service]:
    with run_sample(CORS_ALLOWED_ORIGINS=f"{ALLOWED},http://localhost:5173") as service:
        yield service


def handshake(sample: Service, *lines: str, host: str = "api.example.com") -> str:
    """Send a handshake and return the head of the response."""
    port = int(sample.url.rpartition(":")[2])
    head = [
        "GET /follow-socket HTTP/1.1",
        f"Host: {host}",
        "X-User: ada",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *lines,
    ]
    with sockets.create_connection(("127.0.0.1", port), timeout=WAIT_S) as client:
        client.sendall("\r\n".join([*head, "", ""]).encode("latin-1"))
        received = b""
        while b"\r\n\r\n" not in received and (part := client.recv(4096)):
            received += part
    return received.partition(b"\r\n\r\n")[0].decode("latin-1")


ORIGINS = [
    ("no origin", [], "api.example.com", 101),
    ("allowed", [f"Origin: {ALLOWED}"], "api.example.com", 101),
    ("allowed with port", ["Origin: http://localhost:5173"], "api.example.com", 101),
    ("same host", ["Origin: https://api.example.com"], "api.example.com", 101),
    ("same host in upper case", ["Origin: https://api.example.com"], "API.example.com", 101),
    ("same host and port", ["Origin: http://api.example.com:8080"], "api.example.com:8080", 101),
    ("default port left out", ["Origin: https://api.example.com"], "api.example.com:443", 101),
    ("other", ["Origin: https://evil.example.com"], "api.example.com", 403),
    ("opaque", ["Origin: null"], "api.example.com", 403),
    ("empty", ["Origin: "], "api.example.com", 403),
    ("allowed host with another scheme", ["Origin: http://shop.example.com"], "api.example.com", 403),
    ("allowed host with a port", [f"Origin: {ALLOWED}:8443"], "api.example.com", 403),
    ("allowed host as a subdomain", [f"Origin: {ALLOWED}.evil.example.com"], "api.example.com", 403),
    ("prefix", ["Origin: https://evilshop.example.com"], "api.example.com", 403),
    ("same host on another port", ["Origin: http://api.example.com:1"], "api.example.com", 403),
    ("other port of the host", ["Origin: https://api.example.com"], "api.example.com:8080", 403),
    ("unknown scheme", ["Origin: chrome-extension://api.example.com"], "api.example.com", 403),
    ("two", [f"Origin: {ALLOWED}", "Origin: https://evil.example.com"], "api.example.com", 403),
]


@pytest.mark.parametrize(
    ("lines", "host", "status"), [case[1:] for case in ORIGINS], ids=[c[0] for c in ORIGINS]
)
def test_the_origin_of_a_handshake(sample: Service, lines: list[str], host: str, status: int) -> None:
    refused = sample.metric("stream_refusals_total", kind="websocket", reason="origin")

    head = handshake(sample, *lines, host=host)

    assert head.startswith(f"HTTP/1.1 {status} "), head
    now = sample.metric("stream_refusals_total", kind="websocket", reason="origin")
    assert now == refused + (status == 403)


def test_every_origin_is_allowed_with_an_asterisk(run_sample: Any) -> None:
    with run_sample(CORS_ALLOWED_ORIGINS="*", ENVIRONMENT="development") as service:
        assert handshake(service, "Origin: https://evil.example.com").startswith("HTTP/1.1 101 ")


@pytest.mark.parametrize("offer", ["permessage-deflate", "permessage-deflate; client_max_window_bits=15"])
def test_messages_are_not_compressed(sample: Service, offer: str) -> None:
    head = handshake(sample, f"Sec-WebSocket-Extensions: {offer}")

    assert head.startswith("HTTP/1.1 101 ")
    assert "sec-websocket-extensions" not in head.lower()


def test_a_compressed_message_that_was_not_negotiated_closes_the_websocket(sample: Service) -> None:
    url = f"{sample.url.replace('http', 'ws', 1)}/live-socket"
    with connect(url, additional_headers={"X-User": "ada"}, compression=None) as socket:
        # FIN, RSV1 (compressed) and text; masked, as frames of clients are.
        socket.socket.sendall(bytes([0xC1, 0x80 | 4]) + os.urandom(4) + b"\x00\x00\xff\xff")

        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=WAIT_S)


def test_a_ping_is_responded_to(sample: Service) -> None:
    url = f"{sample.url.replace('http', 'ws', 1)}/live-socket"
    with connect(url, additional_headers={"X-User": "ada"}) as socket:
        assert socket.ping("are you there").wait(WAIT_S)
