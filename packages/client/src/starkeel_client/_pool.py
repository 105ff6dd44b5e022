"""Connection pool of an upstream, whose TLS files may be replaced while it is open."""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, final

import anyio
import anyio.to_thread
import httpx2
import structlog
from anyio.abc import TaskGroup
from starkeel_config import TlsFiles

from ._compat import Connections, connections_of
from ._settings import UpstreamSettings

_IDLE_S = 30.0
"""Keep-alive of idle connections in seconds; below the 75 s after which starkeel_server closes them."""
_CHECK_S: Final = 1.0
"""Seconds between two checks of the TLS files."""

log = structlog.get_logger(__name__)


@final
class Pool:
    """Connections to an upstream. A changed TLS file replaces them by new ones, without failing a call."""

    def __init__(self, name: str, settings: UpstreamSettings) -> None:
        self._name = name
        self._settings = settings
        self._files = TlsFiles(settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file)
        self._transport: httpx2.AsyncHTTPTransport | None = None

    @property
    def transport(self) -> httpx2.AsyncHTTPTransport:
        """The transport for new requests.

        Raises:
            RuntimeError: The pool is not open.
        """
        if self._transport is None:
            raise RuntimeError(f"the pool of {self._name} is not open: the application is not started")
        return self._transport

    def connections(self) -> Connections | None:
        """Return the numbers of connections; `None` if the pool is not open, or they are unknown."""
        return None if self._transport is None else connections_of(self._transport)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Open the pool for the duration of the context."""
        state = self._files.state()
        self._transport = self._new(self._context())
        try:
            async with anyio.create_task_group() as tasks:
                if any(self._files):
                    tasks.start_soon(self._follow_files, tasks, state)
                try:
                    yield
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            transport, self._transport = self._transport, None
            if transport is not None:
                await _close(transport)

    async def _follow_files(self, tasks: TaskGroup, state: tuple[object, ...]) -> None:
        while True:
            await anyio.sleep(_CHECK_S)
            # In a thread, because the files may be on a network, and loading authorities takes time.
            current = await anyio.to_thread.run_sync(self._files.state)
            if current == state:
                continue
            state = current
            try:
                context = await anyio.to_thread.run_sync(self._context)
            except OSError as error:
                # Certificate and key are two files: between their changes they do not match.
                log.error(
                    "upstream certificates not reloaded",
                    upstream=self._name,
                    reason=error.strerror or str(error),
                    settings=[
                        f"TLS_{name.upper()}_FILE" for name, file in self._files._asdict().items() if file
                    ],
                )
                continue
            replaced, self._transport = self._transport, self._new(context)
            log.info("upstream certificates reloaded", upstream=self._name)
            if replaced is not None:
                tasks.start_soon(self._retire, replaced)

    async def _retire(self, transport: httpx2.AsyncHTTPTransport) -> None:
        try:
            # No call takes longer.
            await anyio.sleep(self._settings.timeout_s)
        finally:
            await _close(transport)

    def _context(self) -> ssl.SSLContext:
        # The trusted authorities are loaded only for https, because loading takes time.
        if not self._settings.url.startswith("https:"):
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return self._files.context()

    def _new(self, context: ssl.SSLContext) -> httpx2.AsyncHTTPTransport:
        settings = self._settings
        # Without TLS nothing is negotiated: it is either of both.
        is_negotiated = settings.url.startswith("https:")
        # A bare transport has no cookies (which would leak between users), redirects, proxies or log lines.
        return httpx2.AsyncHTTPTransport(
            verify=context,
            trust_env=False,
            http1=is_negotiated or not settings.http2,
            http2=settings.http2,
            limits=httpx2.Limits(
                max_connections=settings.max_connections,
                max_keepalive_connections=settings.max_connections,
                keepalive_expiry=_IDLE_S,
            ),
        )


async def _close(transport: httpx2.AsyncHTTPTransport) -> None:
    # Bounded, because closing TLS waits for the peer.
    with anyio.move_on_after(1, shield=True):
        await transport.aclose()
