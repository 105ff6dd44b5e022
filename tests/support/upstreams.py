"""Upstreams of starkeel_client: an HTTP/2 server with TLS, and an application that calls it."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition, Event, Thread
from typing import Any

import httpx2
from hypercorn.asyncio import serve
from hypercorn.config import Config
from litestar import Litestar, get
from litestar.di import NamedDependency
from litestar.params import FromQuery
from litestar.testing import TestClient
from starkeel_client import ClientPlugin, UpstreamClient, UpstreamSettings, UpstreamUrl


class Http2Upstream:
    """An application on Hypercorn, by HTTP/1.1 or HTTP/2. A request to `/wait` is never answered."""

    def __init__(
        self, *, certificate: Path | None = None, key: Path | None = None, client_ca: Path | None = None
    ) -> None:
        self.versions: list[str] = []
        """HTTP version of each request."""
        self.disconnected = 0
        """Number of requests to `/wait` that the client abandoned."""
        self._changed = Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._config = Config()
        self._config.bind = [f"fd://{self._listener.fileno()}"]
        self._config.accesslog = self._config.errorlog = None
        self._config.graceful_timeout = 0.1
        if certificate is not None:
            self._config.certfile, self._config.keyfile = str(certificate), str(key)
        if client_ca is not None:
            self._config.ca_certs, self._config.verify_mode = str(client_ca), ssl.CERT_REQUIRED
        self._stop = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        # Hypercorn closes the descriptor.
        self._listener.detach()

    def wait_until_disconnected(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.disconnected >= count, timeout=30), self.disconnected

    def _run(self) -> None:
        async def stopped() -> None:
            await asyncio.to_thread(self._stop.wait)

        asyncio.run(serve(self._app, self._config, shutdown_trigger=stopped))

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.versions.append(scope["http_version"])
        while (event := await receive())["type"] != "http.disconnect":
            if not event.get("more_body") and scope["path"] != "/wait":
                headers = [(b"content-type", b"application/json")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": b"{}"})
                return
        with self._changed:
            self.disconnected += 1
            self._changed.notify_all()


class TlsUpstream:
    """Requires client certificates, and sends the reason for which it rejects one, as most servers do."""

    def __init__(self, *, certificate: Path, key: Path, client_ca: Path) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        # Ends `accept`, which closing would not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(30)
        assert not self._thread.is_alive()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(10)
            with connection, suppress(OSError):
                self._respond(connection)

    def _respond(self, connection: socket.socket) -> None:
        stream = self._context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with stream:
            try:
                stream.do_handshake()
            except ssl.SSLError:
                # Closing with unread data would reset the connection, and discard the alert.
                raw = socket.socket(fileno=stream.detach())
                with raw:
                    raw.shutdown(socket.SHUT_WR)
                    while raw.recv(65_536):
                        pass
                return
            stream.recv(65_536)
            stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")


class CallingApplication:
    """An application that calls the upstream `accounts`."""

    def __init__(self, client: TestClient[Litestar]) -> None:
        self._client = client

    def call(self, path: str = "/") -> httpx2.Response:
        return self._client.get("/", params={"path": path})


@contextmanager
def calling(url: str, **settings: Any) -> Iterator[CallingApplication]:
    """Run an application whose upstream has the given settings."""

    @get("/")
    async def handler(
        accounts_client: NamedDependency[UpstreamClient], path: FromQuery[str]
    ) -> dict[str, int]:
        return {"status": (await accounts_client.get(path)).status_code}

    plugin = ClientPlugin(accounts=UpstreamSettings(url=UpstreamUrl(url), **settings))
    with TestClient(Litestar([handler], plugins=[plugin])) as client:
        yield CallingApplication(client)
