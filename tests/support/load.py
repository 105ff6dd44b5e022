"""Closed-loop HTTP load as it comes through a load balancer: kept and new connections, every request counted.

A request has failed if it was sent while the service was ready and got no complete response, or a 4xx or
5xx. Nothing is retried.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import uvloop

POLL_S = 0.2
RESPONSE_TIMEOUT_S = 25.0


class Response(NamedTuple):
    """A complete response."""

    status: int
    headers: dict[str, str]
    body: bytes


class Failure(NamedTuple):
    """A request that failed.

    Attributes:
        path: Its path.
        kind: `kept` or `fresh`, the kind of its connection.
        reason: Status code, or the error.
        began: When it was sent, in monotonic seconds.
        worker: Last response body on its connection.
    """

    path: str
    kind: str
    reason: str
    began: float
    worker: str


class Incomplete(Exception):
    """The connection was closed before the response was complete."""


class Connection(asyncio.Protocol):
    """One connection with one request at a time; a client library would take CPU time from the service."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._waiter: asyncio.Future[Response] | None = None
        self.is_lost = False

    @classmethod
    async def open(cls, host: str, port: int) -> "Connection":
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(RESPONSE_TIMEOUT_S):
            _, made = await loop.create_connection(cls, host, port)
        return made

    async def get(self, path: str, headers: str, method: str = "GET") -> Response:
        assert self._transport is not None
        self._waiter = asyncio.get_running_loop().create_future()
        self._received = b""
        self._transport.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
        async with asyncio.timeout(RESPONSE_TIMEOUT_S):
            return await self._waiter

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or self._waiter is None or self._waiter.done():
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if len(body) >= int(headers.get("content-length", "0")):
            self._waiter.set_result(Response(int(first.split(" ")[1]), headers, body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(Incomplete(repr(exc) if exc else "end of file"))


class Load:
    """Clients in a thread.

    Args:
        url: Address of the service.
        path: Path of most requests.
        headers: Headers of all requests.
        kept: Number of clients that keep their connection.
        fresh: Number of clients that open a connection for each request.
        slow: Number of clients that keep their connection and request a slow path.
        ready: Readiness path; the load ends when its status is not 200. None: it ends at `finish`.

    Attributes:
        bodies: Number of responses by body, for the path of most requests.
        closes: Number of responses with `Connection: close`.
    """

    def __init__(
        self,
        url: str,
        path: str = "/pid",
        headers: Mapping[str, str] | None = None,
        *,
        kept: int = 6,
        fresh: int = 3,
        slow: int = 0,
        ready: str | None = "/health/ready",
    ) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), parts.port or 80
        self._path = path
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self._kinds = [("kept", path)] * kept + [("kept", "/slow/0.2")] * slow + [("fresh", path)] * fresh
        self._ready = ready
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._is_over = False
        self._error: BaseException | None = None
        self._last_response = 0.0
        self.sent = 0
        self.answered = 0
        self.failures: list[Failure] = []
        self.longest_gap_s = 0.0
        self.closes = 0
        self.bodies: dict[bytes, int] = {}

    def start(self) -> "Load":
        self._thread.start()
        return self

    def wait_for(self, condition: Callable[["Load"], bool], *, timeout_s: float = 90) -> None:
        until = time.monotonic() + timeout_s
        while not condition(self):
            assert self._thread.is_alive(), f"the load has ended: {self._error!r} {self.failures[:5]}"
            assert time.monotonic() < until, f"waited {timeout_s} s: {self.summary}"
            threading.Event().wait(0.01)

    def wait_for_responses(self, more: int) -> None:
        least = self.answered + more
        self.wait_for(lambda load: load.answered >= least)

    def finish(self) -> "Load":
        """Send no more requests, and wait for those in flight."""
        self._is_over = True
        return self.join()

    def join(self) -> "Load":
        """Wait until the load has ended because the service is not ready."""
        self._thread.join(60)
        assert not self._thread.is_alive(), self.summary
        if self._error is not None:
            raise self._error
        return self

    @property
    def summary(self) -> str:
        return (
            f"sent {self.sent}, answered {self.answered}, failed {len(self.failures)}, "
            f"longest gap {self.longest_gap_s * 1000:.0f} ms, `Connection: close` {self.closes}"
        )

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._all())
        except BaseException as error:  # noqa: BLE001 - raised in the thread of the test
            self._error = error

    async def _all(self) -> None:
        clients: list[Coroutine[Any, Any, None]] = [self._client(kind, path) for kind, path in self._kinds]
        self._last_response = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client)
            if self._ready is not None:
                group.create_task(self._check_readiness(self._ready))

    async def _check_readiness(self, path: str) -> None:
        while not self._is_over:
            try:
                connection = await Connection.open(self._host, self._port)
                response = await connection.get(path, "")
                connection.close()
            except (OSError, Incomplete, TimeoutError):
                break
            if response.status != 200:
                break
            await asyncio.sleep(POLL_S)
        self._is_over = True

    async def _client(self, kind: str, path: str) -> None:
        connection: Connection | None = None
        worker = "unknown"
        while not self._is_over:
            began = time.monotonic()
            self.sent += 1
            try:
                if connection is None or connection.is_lost:
                    worker = "unknown"
                    connection = await Connection.open(self._host, self._port)
                response = await connection.get(path, self._headers)
            except (OSError, Incomplete, TimeoutError) as error:
                self.failures.append(Failure(path, kind, f"{type(error).__name__} {error}", began, worker))
                connection = None
                continue
            worker = self._record(response, path=path, kind=kind, began=began)
            if kind == "fresh" or response.headers.get("connection", "").lower() == "close":
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _record(self, response: Response, *, path: str, kind: str, began: float) -> str:
        now = time.monotonic()
        self.longest_gap_s = max(self.longest_gap_s, now - self._last_response)
        self._last_response = now
        self.answered += 1
        self.closes += response.headers.get("connection", "").lower() == "close"
        body = response.body.decode("utf-8", "replace")
        if response.status >= 400:
            self.failures.append(Failure(path, kind, str(response.status), began, body))
        elif path == self._path:
            self.bodies[response.body] = self.bodies.get(response.body, 0) + 1
        return body
