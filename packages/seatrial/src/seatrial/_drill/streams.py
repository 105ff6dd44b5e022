"""Stops of the service while an event stream and a WebSocket are open."""

import contextlib
import signal
import socket
import time
from dataclasses import dataclass

from .._target.exchange import Exchange
from .drill import Drill
from .instance import Instance
from .stops import opened
from .websocket import WebSocket, upgrade_request


@dataclass
class Streams:
    """A stop while an event stream and a WebSocket are open.

    Attributes:
        stream: The exchange of the event stream; None without a path.
        close_code: Code of the close frame; None without a frame.
        upgrade_problem: Why there is no WebSocket, or empty.
    """

    stream: Exchange | None = None
    close_code: int | None = None
    upgrade_problem: str = ""


def stop_with_streams(drill: Drill) -> Streams:
    """Send SIGTERM while an event stream and a WebSocket are open; raises OSError if they do not open."""
    return drill.once.get("streams", lambda: _stop_with_streams(drill))


def _stop_with_streams(drill: Drill) -> Streams:
    found = Streams()
    with drill.instance() as instance, contextlib.ExitStack() as stack:
        stream = _open_stream(drill, instance, stack, found) if drill.keys.stream_path else None
        websocket = None
        if drill.keys.websocket_path:
            try:
                websocket = _open_websocket(drill, instance, stack)
            except OSError as error:
                found.upgrade_problem = str(error)
        instance.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + drill.stop_s
        if websocket:
            found.close_code = websocket.close_code(deadline)
        if stream:
            _read_stream(stream, found, deadline)
    return found


def _open_stream(
    drill: Drill, instance: Instance, stack: contextlib.ExitStack, found: Streams
) -> socket.socket:
    connection = stack.enter_context(opened(instance))
    request = drill.request(
        instance, drill.keys.stream_path, is_last=False, headers=[("Cache-Control", "no-store")]
    ).replace(b"Accept: */*", b"Accept: text/event-stream")
    connection.sendall(request)
    received = b""
    deadline = time.monotonic() + drill.config.timeout_s
    while b"\r\n\r\n" not in received:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        part = connection.recv(65536)
        if not part:
            raise ConnectionError("the event stream ended before its head")
        received += part
    found.stream = Exchange(request, received, False, 0.0)
    return connection


def _read_stream(connection: socket.socket, found: Streams, deadline: float) -> None:
    assert found.stream is not None
    received, is_closed = found.stream.received, False
    started = time.monotonic()
    with contextlib.suppress(TimeoutError):
        while not is_closed:
            connection.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                part = connection.recv(65536)
            except ConnectionError:
                part = b""
            is_closed = not part
            received += part
    found.stream = Exchange(found.stream.sent, received, is_closed, time.monotonic() - started)


def _open_websocket(drill: Drill, instance: Instance, stack: contextlib.ExitStack) -> WebSocket:
    connection = stack.enter_context(opened(instance))
    headers = drill.authorization(instance)
    connection.sendall(upgrade_request(drill.keys.websocket_path, instance.address, headers))
    return WebSocket(connection, timeout_s=drill.config.timeout_s)
