"""An upstream on a real socket that does as it is told, and an application that calls it."""

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
class Seen:
    """A request as the upstream got it."""

    method: str
    path: str
    headers: Any
    body: bytes
    port: int


@dataclass
class Told:
    """What the upstream does with a request: it answers, or `drops`, or answers `half`."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    drops: bool = False
    half: bool = False
    waits: bool = False


class Server:
    """Does with each request what it is told for it; the last for all that follow."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.go_on = Event()
        self._told = [Told()]
        self._changed = Condition()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                body = self.rfile.read(length)
                told = server._note(Seen(self.command, self.path, self.headers, body, self.client_address[1]))
                # The other side may have given up.
                with suppress(OSError):
                    server._answer(self, told)

            def log_message(self, *args: object) -> None:
                pass

        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            setattr(Handler, f"do_{method}", Handler.handle_any)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def tell(self, *told: Told) -> None:
        self._told = list(told)

    def stop(self) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()

    def wait_for_requests(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.seen) >= count, timeout=10), self.seen

    def _note(self, seen: Seen) -> Told:
        with self._changed:
            self.seen.append(seen)
            self._changed.notify_all()
            return self._told.pop(0) if len(self._told) > 1 else self._told[0]

    def _answer(self, handler: BaseHTTPRequestHandler, told: Told) -> None:
        if told.waits:
            self.go_on.wait(10)
        if told.drops:
            handler.close_connection = True
            return
        handler.send_response(told.status)
        for name, value in told.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(told.body) + (100 if told.half else 0)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(told.body)
        handler.close_connection = told.half


class Caller:
    """An application that calls the upstream; `call` lets its handler do as the test says."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self.use: Use = lambda client: client.get("/")
        self.deadline_s: float | None = None
        caller = self

        @get("/")
        async def handler(accounts_client: NamedDependency[UpstreamClient], scope: Scope) -> dict[str, Any]:
            if caller.deadline_s is not None:
                scope["state"]["deadline"] = time.monotonic() + caller.deadline_s
            answer = await caller.use(accounts_client)
            return {"status": answer.status_code, "body": answer.text, "headers": dict(answer.headers)}

        self.client = TestClient(Litestar([handler], plugins=[ClientPlugin(accounts=settings)]))

    def call(self, use: Use | None = None, *, deadline_s: float | None = None) -> httpx2.Response:
        if use is not None:
            self.use = use
        self.deadline_s = deadline_s
        return self.client.get("/")


@pytest.fixture
def told() -> type[Told]:
    return Told


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def caller(server: Server) -> Iterator[Callable[..., Caller]]:
    """Start an application that calls the upstream, with settings."""
    started: list[Caller] = []

    def start(**settings: Any) -> Caller:
        made = Caller(UpstreamSettings(**{"url": server.url} | settings))
        made.client.__enter__()
        started.append(made)
        return made

    yield start
    for each in started:
        each.client.__exit__(None, None, None)
