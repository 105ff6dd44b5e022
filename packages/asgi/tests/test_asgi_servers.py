"""A plain ASGI application with one layer, under real servers and Litestar's test client."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import pytest
import uvicorn
from granian.constants import Interfaces
from granian.server.embed import Server as GranianServer
from litestar import Litestar, asgi
from litestar.testing import AsyncTestClient
from starkeel_asgi import Exchange, pipeline_of
from starkeel_testing import wait_until

TIMEOUT_S = 10


class Recorder:
    """The layer."""

    order = 0

    def __init__(self) -> None:
        self.ended: list[tuple[str, str, int, int]] = []
        self.has_ended = asyncio.Event()

    def begin(self, exchange: Exchange) -> None:
        exchange.added_headers = ((b"x-layer", b"recorder"),)

    def end(self, exchange: Exchange, error: BaseException | None) -> None:
        self.ended.append((exchange.method, exchange.path, exchange.status, exchange.sent_bytes))
        self.has_ended.set()


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    for part in (body, b"!"):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _application(layer: Recorder) -> Litestar:
    handler = asgi("/", is_mount=True, copy_scope=True)(echo)
    return Litestar([handler], on_startup=[lambda app: pipeline_of(app).add(layer)], openapi_config=None)


@asynccontextmanager
async def _uvicorn(app: Litestar, port: int) -> AsyncIterator[Any]:
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="on", log_config=None))
    serving = asyncio.ensure_future(server.serve())
    await asyncio.to_thread(wait_until, lambda: _is_listening(port))
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client
    server.should_exit = True
    await asyncio.wait_for(serving, TIMEOUT_S)


@asynccontextmanager
async def _granian(app: Litestar, port: int) -> AsyncIterator[Any]:
    server = GranianServer(app, port=port, interface=Interfaces.ASGI, log_enabled=False)
    serving = asyncio.ensure_future(server.serve())
    await asyncio.to_thread(wait_until, lambda: _is_listening(port))
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client
    server.stop()
    await asyncio.wait_for(serving, TIMEOUT_S)


@asynccontextmanager
async def _test_client(app: Litestar, _port: int) -> AsyncIterator[Any]:
    async with AsyncTestClient(app) as client:
        yield client


def _is_listening(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port)):
            return True
    except OSError:
        return False


Serve = Callable[[Litestar, int], AbstractAsyncContextManager[Any]]


@pytest.mark.parametrize("serve", [_uvicorn, _granian, _test_client])
async def test_a_plain_application_has_a_layer(serve: Serve, free_port: int) -> None:
    layer = Recorder()
    async with serve(_application(layer), free_port) as client:
        response = await client.post("/any/path", content=b"hello", timeout=TIMEOUT_S)
        await asyncio.wait_for(layer.has_ended.wait(), TIMEOUT_S)

    assert (response.status_code, response.content, response.headers["x-layer"]) == (
        200,
        b"hello!",
        "recorder",
    )
    assert layer.ended == [("POST", "/any/path", 200, 6)]


@pytest.mark.parametrize("serve", [_uvicorn, _granian])
@pytest.mark.parametrize("hosts", [b"", b"Host: x\r\nHost: x\r\n", b"Host: x\r\nHost: y\r\n"])
async def test_a_request_without_one_host_is_refused(serve: Serve, free_port: int, hosts: bytes) -> None:
    async with serve(_application(Recorder()), free_port):
        reader, writer = await asyncio.open_connection("127.0.0.1", free_port)
        writer.write(b"GET / HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
        response = await asyncio.wait_for(reader.read(), TIMEOUT_S)
        writer.close()

    assert response.startswith(b"HTTP/1.1 400 ")
