"""A scripted upstream on a real socket, and an application that calls it."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from typing import Any

import httpx2
import pytest
from litestar import Litestar, get
from litestar.di import NamedDependency
from litestar.testing import TestClient
from litestar.types import Scope
from starkeel_client import ClientPlugin, UpstreamClient, UpstreamSettings

Use = Callable[[UpstreamClient], Awaitable[httpx2.Response]]


@dataclass(frozen=True)
class Received:
    """A request received by the upstream."""

    method: str
    path: str
    headers: Any
    body: bytes
    port: int


@dataclass
class Reply:
    """Scripted behavior for one request: respond, drop the connection, or truncate or delay the response."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    drop: bool = False
    truncate: bool = False
    wait: bool = False


class Server:
    """Handles requests by scripted replies; the last reply applies to all further requests."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.go_on = Event()
        self._replies = [Reply()]
        self._changed = Condition()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                body = self.rfile.read(length)
                request = Received(self.command, self.path, self.headers, body, self.client_address[1])
                reply = server._record(request)
                # The client may have timed out.
                with suppress(OSError):
                    server._respond(self, reply)

            def log_message(self, *args: object) -> None:
                pass

        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            setattr(Handler, f"do_{method}", Handler.handle_any)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def script(self, *replies: Reply) -> None:
        self._replies = list(replies)

    def stop(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()

    def wait_for_requests(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= count, timeout=10), self.received

    def _record(self, request: Received) -> Reply:
        with self._changed:
            self.received.append(request)
            self._changed.notify_all()
            return self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]

    def _respond(self, handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.wait:
            self.go_on.wait(10)
        if reply.drop:
            handler.close_connection = True
            return
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(reply.body) + (100 if reply.truncate else 0)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(reply.body)
        handler.close_connection = reply.truncate


class Caller:
    """An application that calls the upstream in its handler, by the function that a test passes to `call`."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self.use: Use = lambda client: client.get("/")
        self.deadline_s: float | None = None
        caller = self

        @get("/")
        async def handler(accounts_client: NamedDependency[UpstreamClient], scope: Scope) -> dict[str, Any]:
            if caller.deadline_s is not None:
                scope["state"]["deadline"] = time.monotonic() + caller.deadline_s
            response = await caller.use(accounts_client)
            return {"status": response.status_code, "body": response.text, "headers": dict(response.headers)}

        self.client = TestClient(Litestar([handler], plugins=[ClientPlugin(accounts=settings)]))

    def call(self, use: Use | None = None, *, deadline_s: float | None = None) -> httpx2.Response:
        if use is not None:
            self.use = use
        self.deadline_s = deadline_s
        return self.client.get("/")


@pytest.fixture
def reply() -> type[Reply]:
    return Reply


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def token_server() -> Iterator[Server]:
    """A token endpoint."""
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def caller(server: Server) -> Iterator[Callable[..., Caller]]:
    """Return a function that starts an application with the given settings."""
    started: list[Caller] = []

    def start(**settings: Any) -> Caller:
        caller = Caller(UpstreamSettings(**{"url": server.url} | settings))
        caller.client.__enter__()
        started.append(caller)
        return caller

    yield start
    for each in started:
        each.client.__exit__(None, None, None)
