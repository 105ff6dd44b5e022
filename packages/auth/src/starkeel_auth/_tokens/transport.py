"""Connections to an issuer, whose TLS files may be replaced while they are in use."""

import ssl
from typing import Self, final

import anyio
import anyio.to_thread
import httpx2
from starkeel_config import TlsFiles


@final
class IssuerTransport:
    """A transport without cookies, redirects, proxies and log lines, to be entered.

    Args:
        url: URL to connect to.
        files: Files of TLS; a change of one replaces the connections.
    """

    def __init__(self, url: str, files: TlsFiles) -> None:
        self._is_tls = url.startswith("https:")
        self._files = files
        self._state: tuple[object, ...] = ()
        self._transport: httpx2.AsyncHTTPTransport | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    async def current(self) -> httpx2.AsyncHTTPTransport:
        """Return the transport for the next request.

        Raises:
            OSError: A TLS file is missing or invalid.
        """
        if self._transport is not None and not any(self._files):
            return self._transport
        # In a thread, because the files may be on a network, and loading authorities takes time.
        state = await anyio.to_thread.run_sync(self._files.state)
        if self._transport is None or state != self._state:
            context = await anyio.to_thread.run_sync(self._context)
            await self._close()
            self._transport, self._state = httpx2.AsyncHTTPTransport(verify=context, trust_env=False), state
        return self._transport

    async def _close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            # Bounded, because closing TLS waits for the peer.
            with anyio.move_on_after(1, shield=True):
                await transport.aclose()

    def _context(self) -> ssl.SSLContext:
        # The trusted authorities are loaded only for https, because loading delays the start.
        return self._files.context() if self._is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
