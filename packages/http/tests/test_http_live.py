"""Event streams and WebSockets: heartbeats, ends with a reason, slow clients."""

import json
import re
import socket as sockets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
from starkeel_testing import Service, wait_until
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

WAIT_S = 30.0
SMALL_BUFFER_BYTES = 4096


@pytest.fixture(scope="module")
def sample(run_sample: Any) -> Iterator[Service]:
    with run_sample(
        STREAM_HEARTBEAT_SECONDS="1", STREAM_SEND_TIMEOUT_SECONDS="1", WRITE_TIMEOUT_SECONDS="60"
    ) as service:
        yield service


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Closes the streams of a test."""
    with ExitStack() as stack:
        yield stack


def ends(sample: Service, kind: str, reason: str) -> float:
    return sample.metric("stream_ends_total", kind=kind, reason=reason)


def lines_of(sample: Service, opened: ExitStack, path: str, user: str, **headers: str) -> Iterator[str]:
    response = opened.enter_context(
        httpx2.stream("GET", f"{sample.url}{path}", headers={"X-User": user, **headers}, timeout=WAIT_S)
    )
    assert response.status_code == 200
    return response.iter_lines()


def end_of(lines: Iterator[str]) -> Any:
    """Read a stream to its end and return the data of its last event, which must be `end`."""
    *_, event, data, empty = lines
    assert (event, empty) == ("event: end", "")
    return json.loads(data.removeprefix("data: "))


def socket_of(sample: Service, opened: ExitStack, path: str, user: str, **headers: str) -> ClientConnection:
    url = sample.url.replace("http", "ws", 1) + path
    return opened.enter_context(
        connect(url, additional_headers={"X-User": user, **headers}, open_timeout=WAIT_S)
    )


def close_of(socket: ClientConnection) -> tuple[int, str]:
    try:
        while True:
            socket.recv(timeout=WAIT_S)
    except ConnectionClosed as closed:
        return (0, "") if closed.rcvd is None else (closed.rcvd.code, closed.rcvd.reason)


def unread(sample: Service, opened: ExitStack, path: str, user: str) -> sockets.socket:
    """Open an event stream of which nothing is read; the kernel buffers little of it."""
    client = opened.enter_context(sockets.socket())
    client.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, SMALL_BUFFER_BYTES)
    client.settimeout(WAIT_S)
    client.connect(("127.0.0.1", int(sample.url.rpartition(":")[2])))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-User: {user}\r\n\r\n".encode())
    return client


def rest_of(client: sockets.socket) -> bytes:
    parts = []
    while not b"".join(parts[-2:]).endswith(b"\r\n0\r\n\r\n") and (part := client.recv(65_536)):
        parts.append(part)
    return b"".join(parts)


def test_an_idle_event_stream_sends_heartbeats(sample: Service, opened: ExitStack) -> None:
    lines = lines_of(sample, opened, "/live", "idle")

    assert next(lines) == ": listening"
    assert 2000 <= int(next(lines).removeprefix("retry: ")) <= 4000
    assert [next(lines) for _ in range(5)] == ["", ": heartbeat", "", ": heartbeat", ""]


def test_an_idle_websocket_sends_heartbeats(sample: Service, opened: ExitStack) -> None:
    socket = socket_of(sample, opened, "/live-socket", "idle")

    assert [socket.recv(timeout=WAIT_S) for _ in range(2)] == ['{"type":"heartbeat"}'] * 2


def test_events_arrive_in_their_order_between_heartbeats(sample: Service, opened: ExitStack) -> None:
    lines, socket = (
        lines_of(sample, opened, "/live", "ordered"),
        socket_of(sample, opened, "/live-socket", "ordered"),
    )
    next(lines)
    for _ in range(3):
        published = sample.client.post("/live-publish", params={"user": "ordered", "count": 3, "size": 1})
        assert published.json() == 6
        while next(lines) != ": heartbeat":
            pass

    received = [socket.recv(timeout=WAIT_S) for _ in range(11)]
    assert [message for message in received if "heartbeat" not in str(message)][:9] == ["0", "1", "2"] * 3


@pytest.mark.parametrize("path", ["/live", "/live-plain", "/live-endless"])
def test_an_event_stream_ends_with_its_token(sample: Service, opened: ExitStack, path: str) -> None:
    before = ends(sample, "event_stream", "token_expired")

    lines = lines_of(sample, opened, path, "short", **{"X-Lifetime": "1.5"})

    assert end_of(lines) == {"code": 4401, "reason": "token expired"}
    wait_until(lambda: ends(sample, "event_stream", "token_expired") == before + 1, timeout_s=WAIT_S)


@pytest.mark.parametrize("path", ["/live-socket", "/live-plain-socket", "/live-endless-socket"])
def test_a_websocket_is_closed_with_its_token(sample: Service, opened: ExitStack, path: str) -> None:
    socket = socket_of(sample, opened, path, "short", **{"X-Lifetime": "1.5"})

    assert close_of(socket) == (4401, "token expired")


@pytest.mark.parametrize("path", ["/live", "/live-plain"])
def test_an_event_stream_ends_with_its_session(sample: Service, opened: ExitStack, path: str) -> None:
    user = f"out{path}"
    lines = lines_of(sample, opened, path, user)
    next(lines)

    sample.client.post("/live-end-session", params={"user": user})

    assert end_of(lines) == {"code": 4401, "reason": "session ended"}


@pytest.mark.parametrize("path", ["/live-socket", "/live-plain-socket"])
def test_a_websocket_is_closed_with_its_session(sample: Service, opened: ExitStack, path: str) -> None:
    user = f"out{path}"
    socket = socket_of(sample, opened, path, user)
    socket.recv(timeout=WAIT_S)

    sample.client.post("/live-end-session", params={"user": user})

    assert close_of(socket) == (4401, "session ended")


def test_a_full_queue_ends_an_event_stream_with_the_reason(sample: Service, opened: ExitStack) -> None:
    before = ends(sample, "event_stream", "slow_consumer")
    lines = lines_of(sample, opened, "/live", "full")
    next(lines)

    # More in one iteration of the event loop than the queue takes.
    published = sample.client.post("/live-publish", params={"user": "full", "count": 20, "size": 1})

    assert published.json() == 10
    received = list(lines)
    assert 'data: {"code":1013,"reason":"slow consumer"}' in received
    assert not [line for line in received if line.startswith("id: ")]
    wait_until(lambda: ends(sample, "event_stream", "slow_consumer") == before + 1, timeout_s=WAIT_S)


def test_a_full_queue_closes_a_websocket_with_the_reason(sample: Service, opened: ExitStack) -> None:
    socket = socket_of(sample, opened, "/live-socket", "full-socket")
    socket.recv(timeout=WAIT_S)

    sample.client.post("/live-publish", params={"user": "full-socket", "count": 20, "size": 1})

    assert close_of(socket) == (1013, "slow consumer")


def test_a_client_that_reads_nothing_for_a_while_then_receives_the_reason(
    run_sample: Any, opened: ExitStack
) -> None:
    with run_sample(STREAM_SEND_TIMEOUT_SECONDS="1", WRITE_TIMEOUT_SECONDS="60") as sample:
        client = unread(sample, opened, "/live-endless", "lazy")
        sample.wait_for_log("stream ended", reason="slow consumer")

        received = rest_of(client)

        assert received.endswith(b"\r\n0\r\n\r\n")
        assert b'event: end\r\ndata: {"code":1013,"reason":"slow consumer"}\r\n\r\n' in received
        numbers = [int(line) for line in re.findall(rb"id: ([0-9]+)\n", received)]
        assert numbers == list(range(1, len(numbers) + 1))


def test_a_client_that_never_reads_is_dropped(run_sample: Any, opened: ExitStack) -> None:
    with run_sample(STREAM_SEND_TIMEOUT_SECONDS="1", WRITE_TIMEOUT_SECONDS="600") as sample:
        unread(sample, opened, "/live-endless", "never")

        wait_until(lambda: ends(sample, "event_stream", "slow_consumer") == 1, timeout_s=90)
        wait_until(lambda: sample.metric("open_streams", kind="event_stream") == 0, timeout_s=WAIT_S)
        assert ends(sample, "event_stream", "slow_consumer") == 1


def test_a_silent_client_is_closed_where_it_must_respond(sample: Service, opened: ExitStack) -> None:
    silent = socket_of(sample, opened, "/live-socket", "silent", **{"X-Silence": "3"})
    talking = socket_of(sample, opened, "/live-socket", "talking", **{"X-Silence": "3"})
    closed: list[tuple[int, str]] = []

    def answer() -> bool:
        talking.recv(timeout=WAIT_S)
        talking.send("pong")
        return sample.metric("stream_ends_total", kind="websocket", reason="silent_client") == 1

    wait_until(answer, timeout_s=WAIT_S)
    closed.append(close_of(silent))

    assert closed == [(4408, "silent client")]
    talking.send("still here")
    sample.wait_for_log("message received", text="still here")


@pytest.mark.parametrize("kind", ["event_stream", "websocket"])
def test_a_client_that_disconnects_ends_its_stream(sample: Service, kind: str) -> None:
    before = ends(sample, kind, "client")
    with ExitStack() as opened:
        if kind == "websocket":
            socket_of(sample, opened, "/live-socket", f"gone-{kind}").recv(timeout=WAIT_S)
        else:
            next(lines_of(sample, opened, "/live", f"gone-{kind}"))

    sample.wait_for_log("unsubscribed", user=f"gone-{kind}")
    wait_until(lambda: ends(sample, kind, "client") == before + 1, timeout_s=WAIT_S)


def test_a_source_that_fails_before_the_start_is_responded_to(sample: Service) -> None:
    response = sample.client.get("/live-failing")

    assert response.status_code == 503
    assert response.json()["detail"] == "No events now."


def test_the_stop_of_the_service_is_a_reason(run_sample: Callable[..., Any], opened: ExitStack) -> None:
    with run_sample() as service:
        lines = lines_of(service, opened, "/live", "stop")
        socket = socket_of(service, opened, "/live-socket", "stop")
        next(lines)

        assert service.terminate() == 0

    assert end_of(lines) == {"code": 1012, "reason": "service restart"}
    assert close_of(socket) == (1012, "service restart")
