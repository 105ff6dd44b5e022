"""The forwarder closes what it opened, in whatever state its connections are."""

import gc
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from threading import Thread

import pytest
from starkeel_testing import TcpForwarder


@pytest.fixture
def echo_port() -> Iterator[int]:
    """Run a server that returns what it receives, until the client ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(ConnectionResetError), server.accept()[0] as connection:
                while data := connection.recv(65536):
                    connection.sendall(data)

        thread = Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def _ended_by_client(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


def _open(client: socket.socket) -> None:
    client.sendall(b"more")


@pytest.mark.parametrize("delay_s", [0.0, 3600.0])
@pytest.mark.parametrize("leave", [_ended_by_client, _open])
def test_close_closes_all_connections(
    echo_port: int, delay_s: float, leave: Callable[[socket.socket], None]
) -> None:
    gc.collect()
    with warnings.catch_warnings(record=True) as leaks:
        warnings.simplefilter("always", ResourceWarning)
        with (
            closing(TcpForwarder(echo_port)) as forwarder,
            socket.create_connection(("127.0.0.1", forwarder.port), timeout=10) as client,
        ):
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"
            forwarder.delay_s = delay_s
            leave(client)
            forwarder.close()
            assert _rest(client) in {b"", b"more"}
        gc.collect()

    assert [str(leak.message) for leak in leaks] == []


def test_close_closes_connections_that_have_just_begun(echo_port: int) -> None:
    gc.collect()
    with warnings.catch_warnings(record=True) as leaks:
        warnings.simplefilter("always", ResourceWarning)
        for _ in range(200):
            with closing(TcpForwarder(echo_port)) as forwarder:
                clients = [socket.create_connection(("127.0.0.1", forwarder.port)) for _ in range(3)]
            for client in clients:
                client.close()
        gc.collect()

    assert [str(leak.message) for leak in leaks] == []


def _rest(client: socket.socket) -> bytes:
    try:
        return client.recv(100)
    except ConnectionResetError:
        return b""
