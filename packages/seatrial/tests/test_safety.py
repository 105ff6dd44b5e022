"""Requests that may be sent to a target."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from command import seatrial
from reference_server import running
from seatrial._rows.registry import load_rows
from seatrial._target.address import Address, refused_attacks


@contextmanager
def recording(response: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives each request the same response; yields its URL and what it received."""
    received: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            with stream:
                received.append(stream.recv(65536))
                stream.sendall(response)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", received
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def _address(ip: str, host: str = "service.example") -> Address:
    return Address("http", host, 80, "", ip)


def test_hostile_requests_need_loopback_or_both_permissions() -> None:
    foreign = _address("192.0.2.1")
    assert not refused_attacks(
        [_address("127.0.0.5"), _address("::1"), _address("::ffff:127.0.0.1")], [], is_owner=False
    )
    assert refused_attacks([foreign], [], is_owner=False)
    assert refused_attacks([foreign], [], is_owner=True)
    assert refused_attacks([foreign], ["service.example"], is_owner=False)
    assert not refused_attacks([foreign], ["service.example"], is_owner=True)
    assert refused_attacks([_address("127.0.0.1"), foreign], [], is_owner=True)


def test_hostile_rows_need_permission_for_another_address(tmp_path: Path) -> None:
    attacks = {row.id for row in load_rows() if row.is_attack}
    assert {"edge-smuggling-chunks", "edge-header-size", "errors-deep-nesting", "auth-alg-none"} <= attacks
    with running() as server:
        # On Linux, this address reaches the machine itself; it is not one of loopback.
        url = server.url.replace("127.0.0.1", "0.0.0.0")
        check = ("check", url, "--only", "edge-host", "--only", "edge-head")
        refused = seatrial(*check, "--i-own-this", cwd=tmp_path)
        (tmp_path / "seatrial.toml").write_text('allowed_targets = ["0.0.0.0"]')
        unowned = seatrial(*check, cwd=tmp_path)
        allowed = seatrial(*check, "--i-own-this", cwd=tmp_path)
    for done in (refused, unowned):
        assert "????  edge-host" in done.stdout
        assert "pass  edge-head" in done.stdout
    assert "pass  edge-host" in allowed.stdout


def test_redirects_to_other_hosts_are_not_followed(tmp_path: Path) -> None:
    with recording(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n") as (other, visits):
        location = other.replace("127.0.0.1", "localhost").encode()
        redirect = (
            b"HTTP/1.1 302 Found\r\nLocation: %b/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            % location
        )
        with recording(redirect) as (url, received):
            seatrial("check", url, "--only", "health", cwd=tmp_path)
    assert received
    assert not visits


def test_requests_are_identified_and_safe(tmp_path: Path) -> None:
    response = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with recording(response) as (url, received):
        for row in load_rows():
            if row.command == "check" and not row.is_attack:
                seatrial_row(url, row.id, tmp_path)
    # The address is probed by a connection without a request.
    received = [request for request in received if request]
    methods = {request.split(b" ")[0] for request in received}
    # PATCH without a body to a path of GET, and TRACE, must be refused.
    assert methods <= {b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PATCH"}
    assert all(re.search(rb"\r\nUser-Agent: seatrial/\d", request) for request in received)


def seatrial_row(url: str, row: str, cwd: Path) -> None:
    done = seatrial("check", url, "--only", row, cwd=cwd)
    assert done.returncode in {0, 1, 2}
    assert "Traceback" not in done.stdout + done.stderr
