"""A small service that passes every row of `drill`, and named defects that each break it in one way.

A main process binds the ports and watches one worker; counters of requests are in memory that both share.
It is started as a program; `DEFECTS` has names of defects, separated by commas.
"""

import asyncio
import contextlib
import mmap
import os
import signal
import socket
import sys
import time

from drilled_http import Connections, Response
from drilled_telemetry import COUNTERS_SIZE, Counters, Exporter, Log

DEFECTS = set(filter(None, os.environ.get("DEFECTS", "").split(",")))
DRAIN_S = 0.3
GRACE_S = 3.0


def fail(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.exit(2)


def number(name: str) -> int:
    text = os.environ.get(name, "")
    if text.isascii() and text.isdigit() and int(text) < 65536:
        return int(text)
    fail("the configuration is wrong" if "unnamed variable" in DEFECTS else f"{name}: {text!r} is no port")
    return 0


def listener(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port), backlog=512)
    except OSError as error:
        if "traceback of bind" in DEFECTS:
            raise
        fail(f"cannot listen on port {port}: {error.strerror}")
        raise


class Database:
    """A connection for each question, to a server that answers `pong`."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.has_failed = False

    async def is_answering(self) -> bool:
        if self.has_failed and "no reconnection" in DEFECTS:
            return False
        try:
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                with contextlib.closing(writer):
                    writer.write(b"ping\n")
                    is_answered = await reader.readline() == b"pong\n"
        except (OSError, TimeoutError):
            is_answered = False
        self.has_failed |= not is_answered
        return is_answered


class Worker:
    """Serves requests until SIGTERM."""

    def __init__(self, database: Database, counters: Counters) -> None:
        self.database = database
        self.counters = counters
        self.log = Log(DEFECTS)
        self.exporter = Exporter(os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"], DEFECTS)
        self.is_stopping = asyncio.Event()
        self.attempts: dict[str, int] = {}
        self.threads = asyncio.Semaphore(4)

    async def run(self, public: socket.socket, admin: socket.socket) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.is_stopping.set)
        connections = Connections(self, DEFECTS)
        servers = [
            await asyncio.start_server(connections.serve, sock=public, limit=2**17),
            await asyncio.start_server(connections.serve_admin, sock=admin),
        ]
        self.log.write("info", "started", secrets={"api_key": os.environ.get("API_KEY", "")})
        await self.is_stopping.wait()
        if "deaf" in DEFECTS:
            await asyncio.sleep(3600)
        if "no delay before the listener closes" not in DEFECTS:
            await asyncio.sleep(DRAIN_S)
        for server in servers:
            server.close()
        await connections.finish(GRACE_S)
        self.log.write("info", "stopped")
        self.exporter.flush()
        self.log.flush()

    async def answer(self, method: str, path: str, headers: dict[str, str]) -> tuple[str, Response]:
        """Return the route and the response."""
        if "few threads" in DEFECTS:
            async with self.threads:
                return await self._answer(method, path, headers)
        return await self._answer(method, path, headers)

    async def _answer(self, method: str, path: str, headers: dict[str, str]) -> tuple[str, Response]:
        routes = {
            "/health/live": self.live, "/health/ready": self.ready, "/items": self.items, "/slow": self.slow,
            "/error": self.error, "/endless": self.endless,
        }  # fmt: skip
        if path == "/login":
            return path, self.login(headers) if method == "POST" else Response(405)
        if path not in routes:
            return "", Response(404)
        if method not in {"GET", "HEAD"}:
            return path, Response(405)
        try:
            async with asyncio.timeout(None if "no request timeout" in DEFECTS else 1.5):
                return path, await routes[path]()
        except TimeoutError:
            return path, Response(504)

    async def live(self) -> Response:
        if "liveness needs database" in DEFECTS and not await self.database.is_answering():
            return Response(503)
        return Response(200)

    async def ready(self) -> Response:
        if "never ready" in DEFECTS or (self.is_stopping.is_set() and "ready while stopping" not in DEFECTS):
            return Response(503)
        is_ready = "readiness ignores database" in DEFECTS or await self.database.is_answering()
        return Response(200 if is_ready else 503)

    async def items(self) -> Response:
        if await self.database.is_answering():
            return Response(200, b"[]")
        return Response(500 if "500 without database" in DEFECTS else 503)

    async def slow(self) -> Response:
        await asyncio.sleep(0.8)
        return Response(200)

    async def endless(self) -> Response:
        await asyncio.sleep(3600)
        return Response(200)

    async def error(self) -> Response:
        return Response(500)

    def login(self, headers: dict[str, str]) -> Response:
        client = headers.get("x-forwarded-for", "") if "forwarded client" in DEFECTS else ""
        self.attempts[client] = self.attempts.get(client, 0) + 1
        if self.attempts[client] > 5 and "no limit" not in DEFECTS:
            return Response(429, headers={"Retry-After": "60"})
        return Response(401)


class Main:
    """Watches the worker."""

    def __init__(self, public: socket.socket, admin: socket.socket, memory: mmap.mmap) -> None:
        self.sockets = public, admin
        self.memory = memory
        self.worker = 0
        self.is_stopping = False

    def stop(self, *_: object) -> None:
        if self.is_stopping and "second signal raises" in DEFECTS:
            raise RuntimeError("stopped twice")
        if not self.is_stopping:
            self.is_stopping = True
            for each in self.sockets:
                each.close()
            if self.worker:
                os.kill(self.worker, signal.SIGTERM)

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self.stop)
        while not self.is_stopping:
            self.fork()
            self.wait()
            if "no new worker" in DEFECTS and not self.is_stopping:
                signal.pause()
        sys.exit(143 if "exit 143" in DEFECTS else 0)

    def fork(self) -> None:
        # The signal is blocked until the worker is known here, and has its own handler there.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        self.worker = 0 if self.is_stopping else os.fork()
        if self.worker or self.is_stopping:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
            return
        try:
            asyncio.run(self.serve())
        finally:
            os._exit(0)

    async def serve(self) -> None:
        worker = Worker(Database(int(os.environ["DB_PORT"])), Counters(self.memory, DEFECTS))
        signal.set_wakeup_fd(-1)
        asyncio.get_running_loop().call_soon(signal.pthread_sigmask, signal.SIG_UNBLOCK, {signal.SIGTERM})
        await worker.run(*self.sockets)

    def wait(self) -> None:
        while self.worker:
            with contextlib.suppress(InterruptedError):
                os.waitpid(self.worker, 0)
                return


def main() -> None:
    if "deaf start" in DEFECTS:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(0.5)
    if not os.environ.get("API_KEY") and "no check of variables" not in DEFECTS:
        fail("API_KEY is not set")
    if len(os.environ.get("API_KEY", "")) < 8 and "no check of variables" not in DEFECTS:
        fail("API_KEY is too short")
    port = number("PORT")
    admin_port = number("ADMIN_PORT")
    if "banner" in DEFECTS:
        sys.stdout.write("Welcome to the service\n")
        sys.stdout.flush()
    if "needs database at start" in DEFECTS:
        socket.create_connection(("127.0.0.1", int(os.environ["DB_PORT"])), timeout=1).close()
    memory = mmap.mmap(-1, COUNTERS_SIZE)
    Main(listener(port), listener(admin_port), memory).run()


if __name__ == "__main__":
    main()
