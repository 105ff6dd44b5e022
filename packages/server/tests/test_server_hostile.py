"""Clients that send incomplete, oversized or ambiguous requests."""

import socket
from typing import Any

import httpx2
import pytest


class Raw:
    """A raw connection."""

    def __init__(self, sample: Any) -> None:
        self._socket = socket.create_connection(("127.0.0.1", int(sample.url.rpartition(":")[2])), timeout=20)

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> "Raw":
        self._socket.sendall(data)
        return self

    def all(self) -> bytes:
        """Read until the service closes the connection; time out if it does not."""
        received = b""
        try:
            while part := self._socket.recv(65_536):
                received += part
        except ConnectionResetError:
            pass
        return received


def head(*lines: str, method: str = "GET", path: str = "/pid") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: sample", *lines, "", ""]).encode()


@pytest.mark.parametrize("sent", [b"", b"half"])
def test_a_missing_body_times_out(samples: Any, sent: bytes) -> None:
    sample = samples.ready(BODY_READ_TIMEOUT_SECONDS=0.5)
    with Raw(sample) as client:
        answer = client.send(head("Content-Length: 10", method="POST", path="/body") + sent).all()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()
    assert b"did not arrive within 0.5 seconds" in answer
    assert sample.stop() == 0


def test_a_slowly_sent_body_times_out(samples: Any) -> None:
    sample = samples.ready(BODY_READ_TIMEOUT_SECONDS=1)
    with Raw(sample) as client:
        client.send(head("Content-Length: 1000000", method="POST", path="/body"))
        sample.wait_for_log("body began")

        def is_hung_up() -> bool:
            try:
                client.send(b"x")
            except OSError:
                return True
            return False

        # Each byte arrives in time, but the whole body does not.
        samples.wait_until(is_hung_up, timeout_s=20)


def test_the_body_timeout_excludes_time_spent_in_the_application(samples: Any) -> None:
    samples.edit("app.py", 'log.info("body began")', "await asyncio.sleep(1)")
    sample = samples.ready(BODY_READ_TIMEOUT_SECONDS=0.5)

    assert httpx2.post(f"{sample.url}/body", content=b"x" * 1_000_000, timeout=20).text == "1000000"


def test_a_thousand_half_sent_heads_do_not_block_other_clients(samples: Any) -> None:
    sample = samples.ready()
    silent = [Raw(sample).send(b"GET /pid HTTP/1.1\r\nHost: sam") for _ in range(1000)]

    assert httpx2.get(f"{sample.url}/pid", timeout=20).status_code == 200
    assert httpx2.get(f"{sample.url}/health/ready", timeout=20).status_code == 200
    for path in ("/live", "/ready", "/metrics"):
        assert httpx2.get(f"{sample.admin}{path}", timeout=20).status_code == 200

    # They do not delay the shutdown.
    assert sample.stop() == 0
    for client in silent:
        assert client.all() == b""
        client.__exit__()


@pytest.mark.parametrize(
    "lines", [[f"X-{number}: a" for number in range(150)], ["X: " + "a" * 140_000]], ids=["count", "size"]
)
def test_a_head_that_is_too_large_is_rejected(samples: Any, lines: list[str]) -> None:
    sample = samples.ready()
    with Raw(sample) as client:
        assert client.send(head(*lines)).all().startswith(b"HTTP/1.1 431 ")


def test_a_large_head_of_a_browser_is_accepted(samples: Any) -> None:
    sample = samples.ready()

    # 32 KiB, mostly cookies, and eighty headers.
    headers = {"Cookie": "c=" + "a" * 30_000, **{f"X-{number}": "a" for number in range(80)}}

    assert httpx2.get(f"{sample.url}/pid", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
    ],
    ids=["length first", "encoding first"],
)
def test_a_smuggled_request_is_never_answered(samples: Any, lines: list[str]) -> None:
    """A proxy that uses the length treats the rest as the next client's request (RFC 9112, 6.3)."""
    sample = samples.ready()
    with Raw(sample) as client:
        smuggled = head(path="/greeting")
        answer = client.send(head(*lines, method="POST", path="/body") + b"0\r\n\r\n" + smuggled).all()

    # Read as chunked: an empty body. Then the connection is closed.
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert answer.endswith(b"\r\n\r\n0")
    assert answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (["Content-Length: 6", "Content-Length: 5"], b"123456"),
        (["Content-Length: -1"], b""),
        (["Content-Length : 3"], b"123"),
        (["Transfer-Encoding: xchunked"], b"0\r\n\r\n"),
        (["Transfer-Encoding: chunked, identity"], b"0\r\n\r\n"),
    ],
)
def test_an_ambiguous_length_is_rejected(samples: Any, lines: list[str], body: bytes) -> None:
    sample = samples.ready()
    with Raw(sample) as client:
        answer = client.send(head(*lines, method="POST", path="/body") + body + head()).all()

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_data_after_invalid_chunks_is_never_answered(samples: Any) -> None:
    sample = samples.ready()
    with Raw(sample) as client:
        sent = (
            head("Transfer-Encoding: chunked", method="POST", path="/body")
            + b"5\r\nhelloXX0\r\n\r\n"
            + head()
        )
        answer = client.send(sent).all()

    assert not answer.startswith(b"HTTP/1.1 2")
    assert answer.count(b"HTTP/1.1") == 1
