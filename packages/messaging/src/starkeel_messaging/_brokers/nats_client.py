"""Connection to NATS: its user, and TLS that a server cannot leave out."""

import asyncio
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit, urlunsplit

import structlog
from nats.aio.client import Client
from nats.errors import Error
from starkeel_config import Secret

from .._nats_credentials import NatsCredentials
from .tls import client_context

log = structlog.get_logger(__name__)

CONNECT_S: Final = 2
"""Seconds for an attempt to connect."""
_RECONNECT_S: Final = 1


class NatsClient(Client):
    """A connection that is opened again when it is lost.

    Args:
        url: URL of a server.
        credentials: Content of a file `.creds`, or a seed; otherwise the URL has the user.
    """

    def __init__(self, url: Secret, credentials: Secret | None) -> None:
        super().__init__()
        given = urlsplit(url.reveal())
        self._url = Secret(urlunsplit(given._replace(query="")))
        self._needs_tls = given.scheme == "tls"
        # Also for `nats://`, whose server may require TLS.
        self._context = client_context(parse_qs(given.query))
        self._user: dict[str, Any] = {}
        if credentials is None:
            return
        user = NatsCredentials(credentials.reveal())
        # Without a name the client signs nothing; with a signature it does not send the name.
        self._user = {"user": "credentials", "signature_cb": user.sign}
        if (jwt := user.jwt) is not None:
            self._user["user_jwt_cb"] = lambda: bytearray(jwt.encode())
        else:
            # The client itself finds it only by another package.
            self._key = user.public_key()

    async def keep_connecting(self) -> None:
        """Attempt to connect until it succeeds; then the client itself keeps the connection."""

        async def ignore(error: Exception) -> None:
            log.debug("connection to NATS failed", error=type(error).__name__)

        while not self.is_connected:
            try:
                await self.connect(
                    self._url.reveal(),
                    error_cb=ignore,
                    connect_timeout=CONNECT_S,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=_RECONNECT_S,
                    allow_reconnect=True,
                    tls=self._context,
                    **self._user,
                )
            except (Error, OSError, TimeoutError) as error:
                await ignore(error)
                await asyncio.sleep(_RECONNECT_S)

    def _connect_command(self) -> bytes:
        """Return the command that signs in, after TLS; a server that offers none would read the password."""
        if self._needs_tls and not self._server_info.get("tls_required"):
            raise Error("the server has no TLS")
        self._public_nkey = getattr(self, "_key", None)
        return super()._connect_command()
