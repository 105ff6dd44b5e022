"""Closed-loop load as it comes through a load balancer: kept and new connections, every request counted.

Failed is a request that was sent while the service said it was ready and that got no complete answer, or a
5xx. Nothing is sent twice.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import uvloop

POLL_S = 0.2
ANSWER_WITHIN_S = 25.0


class Answer(NamedTuple):
    """A complete answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Failure(NamedTuple):
    """A request that failed."""

    path: str
    kind: str
    why: str
    began: float
    worker: str


class Incomplete(Exception):
    """The connection ended before the answer did."""


class Connection(asyncio.Protocol):
    """One connection, one request at a time, without a library between: two cores serve both sides."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._waiter: asyncio.Future[Answer] | None = None
        self.is_lost = False

    @classmethod
    async def open(cls, port: int) -> "Connection":
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(ANSWER_WITHIN_S):
            _, made = await loop.create_connection(cls, "127.0.0.1", port)
        return made

    async def get(self, path: str) -> Answer:
        assert self._transport is not None
        self._waiter = asyncio.get_running_loop().create_future()
        self._received = b""
        self._transport.write(f"GET {path} HTTP/1.1\r\nHost: sample\r\n\r\n".encode())
        async with asyncio.timeout(ANSWER_WITHIN_S):
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
            self._waiter.set_result(Answer(int(first.split(" ")[1]), headers, body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(Incomplete(repr(exc) if exc else "end of file"))


class Load:
    """Clients in a thread of their own.

    Args:
        port: Of the service.
        kept: How many keep their connection for as long as they may.
        fresh: How many open one for each request.
        slow: How many of those that keep theirs ask for what takes a while.
        ready: Path that says whether requests may be sent; none: send until `finish`.
    """

    def __init__(
        self, port: int, *, kept: int = 6, fresh: int = 3, slow: int = 2, ready: str | None = "/health/ready"
    ) -> None:
        self._port = port
        self._kinds = [("kept", "/pid")] * kept + [("kept", "/slow/0.2")] * slow + [("fresh", "/pid")] * fresh
        self._ready = ready
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._is_over = False
        self._error: BaseException | None = None
        self._last_answer = 0.0
        self.sent = 0
        self.answered = 0
        self.failures: list[Failure] = []
        self.longest_gap_s = 0.0
        self.workers: set[str] = set()
        self.told_to_close = 0
        self.bodies: dict[bytes, int] = {}
        """How often each of the last distinct answers was given."""

    def start(self) -> "Load":
        self._thread.start()
        return self

    def wait_for(self, is_so: Callable[["Load"], bool], *, timeout_s: float = 60) -> None:
        until = time.monotonic() + timeout_s
        while not is_so(self):
            assert self._thread.is_alive(), f"the load ended by itself: {self._error!r} {self.failures[:5]}"
            assert time.monotonic() < until, f"waited {timeout_s} s: {self.summary}"
            threading.Event().wait(0.01)

    def wait_for_answers(self, more: int) -> None:
        least = self.answered + more
        self.wait_for(lambda load: load.answered >= least)

    def finish(self) -> "Load":
        """Send nothing more and wait for what is on the way."""
        self._is_over = True
        return self.join()

    def join(self) -> "Load":
        """Wait until the load has ended because the service said so."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        return self

    @property
    def summary(self) -> str:
        return (
            f"sent {self.sent}, answered {self.answered}, failed {len(self.failures)}, "
            f"longest gap {self.longest_gap_s * 1000:.0f} ms, told to close {self.told_to_close}"
        )

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._all())
        except BaseException as error:  # noqa: BLE001 - told in the thread of the test
            self._error = error

    async def _all(self) -> None:
        clients: list[Coroutine[Any, Any, None]] = [self._client(kind, path) for kind, path in self._kinds]
        self._last_answer = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client)
            if self._ready is not None:
                group.create_task(self._balance(self._ready))

    async def _balance(self, path: str) -> None:
        while not self._is_over:
            try:
                connection = await Connection.open(self._port)
                answer = await connection.get(path)
                connection.close()
            except (OSError, Incomplete, TimeoutError):
                break
            if answer.status != 200:
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
                    connection = await Connection.open(self._port)
                answer = await connection.get(path)
            except (OSError, Incomplete, TimeoutError) as error:
                self.failures.append(Failure(path, kind, f"{type(error).__name__} {error}", began, worker))
                connection = None
                continue
            worker = self._note(answer, path=path, kind=kind, began=began)
            if kind == "fresh" or answer.headers.get("connection", "").lower() == "close":
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def _note(self, answer: Answer, *, path: str, kind: str, began: float) -> str:
        now = time.monotonic()
        self.longest_gap_s = max(self.longest_gap_s, now - self._last_answer)
        self._last_answer = now
        self.answered += 1
        self.told_to_close += answer.headers.get("connection", "").lower() == "close"
        if answer.status >= 500:
            self.failures.append(Failure(path, kind, str(answer.status), began, answer.body.decode()))
        elif path == "/pid":
            self.bodies[answer.body] = self.bodies.get(answer.body, 0) + 1
        return answer.body.decode("utf-8", "replace")
