"""Access token of this service for an upstream: obtained by client credentials, cached, renewed in time."""

import ssl
import time
from base64 import b64encode
from typing import Annotated, Final, final
from urllib.parse import quote_plus, urlencode

import anyio
import anyio.to_thread
import httpx2
import msgspec
import structlog
from starkeel_config import Backoff, TlsFiles

from ._errors import unavailable
from ._settings import UpstreamSettings

log = structlog.get_logger(__name__)

_MAX_BYTES: Final = 65_536
_RENEW_AT: Final = 0.75
"""Part of the lifetime after which a token is renewed."""
_MARGIN_S: Final = 5.0
"""Seconds before its end at which a token is no longer sent: it is on its way, and clocks differ."""
_BACKOFF: Final = Backoff(base_s=0.5, cap_s=30.0, jitter=0.5)


class _Token(msgspec.Struct):
    access_token: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._~+/-]+=*$", max_length=8192)]
    token_type: Annotated[str, msgspec.Meta(pattern=r"^[Bb]earer$")]
    expires_in: Annotated[float, msgspec.Meta(gt=0, le=31_536_000)]


class TokenResponseError(Exception):
    """The response of the token endpoint is no token."""


@final
class ServiceTokens:
    """Provides the access token of an upstream's calls.

    Only `run` fetches, one token at a time for all calls, so that a cancelled request cancels no fetch that
    others await. The first call fetches the first token. After a failed renewal the old token is used until
    it ends, and the renewal is repeated with a backoff.

    Args:
        name: Name of the upstream.
        settings: `token_url`, `client_id`, `client_secret` and `token_scope` are set.
    """

    def __init__(self, name: str, settings: UpstreamSettings) -> None:
        self._name = name
        self._settings = settings
        self._token = ""
        self._renew_at = self._ends_at = float("-inf")
        self._failures = 0
        self._requested = anyio.Event()
        self._done = anyio.Event()

    async def get(self, *, ends_at: float) -> str:
        """Return a token that has not ended.

        Args:
            ends_at: Deadline of the call in monotonic seconds.

        Raises:
            ServiceUnavailableException: There is no token, and the endpoint gives none until the deadline.
        """
        now = time.monotonic()
        if now >= self._renew_at:
            done = self._done
            self._requested.set()
            if now >= self._ends_at:
                with anyio.move_on_after(ends_at - now):
                    await done.wait()
        if time.monotonic() >= self._ends_at:
            raise unavailable(self._name)
        return self._token

    def discard(self, token: str) -> None:
        """Drop a token that the upstream has rejected; the next call fetches another one."""
        if token == self._token:
            self._renew_at = self._ends_at = float("-inf")

    async def run(self) -> None:
        """Fetch tokens when calls need them, until cancelled."""
        self._requested, self._done = anyio.Event(), anyio.Event()
        while True:
            await self._requested.wait()
            # Calls that begin from now on may need another token.
            self._requested = anyio.Event()
            if time.monotonic() >= self._renew_at:
                await self._renew()
            done, self._done = self._done, anyio.Event()
            done.set()
            if self._failures:
                await anyio.sleep(_BACKOFF.pause_s(self._failures - 1))

    async def _renew(self) -> None:
        began = time.monotonic()
        try:
            # Read each time, in a thread: the files of the upstream's TLS may have changed.
            verify = await anyio.to_thread.run_sync(self._context)
            with anyio.fail_after(self._settings.timeout_s):
                async with httpx2.AsyncHTTPTransport(verify=verify, trust_env=False) as transport:
                    token = await self._fetch(transport)
        except Exception as error:  # noqa: BLE001  (the next attempt may succeed)
            self._failures += 1
            log.warning(
                "service token not renewed",
                upstream=self._name,
                error=type(error).__name__,
                reason=str(error) if isinstance(error, TokenResponseError) else "",
                left_s=max(0, round(self._ends_at - began)) if self._token else 0,
            )
            return
        self._failures = 0
        self._token = token.access_token
        self._ends_at = began + max(token.expires_in - _MARGIN_S, 0.0)
        self._renew_at = min(began + _RENEW_AT * token.expires_in, self._ends_at)

    def _context(self) -> ssl.SSLContext:
        settings = self._settings
        if not (settings.token_url or "").startswith("https:"):
            return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return TlsFiles(settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file).context()

    async def _fetch(self, transport: httpx2.AsyncHTTPTransport) -> _Token:
        settings = self._settings
        secret = "" if settings.client_secret is None else settings.client_secret.reveal()
        # RFC 6749, 2.3.1: both are form-encoded first.
        credentials = f"{quote_plus(settings.client_id or '')}:{quote_plus(secret)}"
        form = {"grant_type": "client_credentials"}
        if settings.token_scope:
            form["scope"] = settings.token_scope
        request = httpx2.Request(
            "POST",
            settings.token_url or "",
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Authorization": f"Basic {b64encode(credentials.encode()).decode()}",
                "Content-Type": "application/x-www-form-urlencoded",
            },
            content=urlencode(form).encode(),
        )
        response = await transport.handle_async_request(request)
        try:
            if response.status_code != 200:
                raise TokenResponseError(f"the response has status {response.status_code}")
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MAX_BYTES:
                    raise TokenResponseError(f"the response is larger than {_MAX_BYTES} bytes")
        finally:
            await response.aclose()
        try:
            return msgspec.json.decode(bytes(body), type=_Token)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            # Not chained: the response has a token, perhaps.
            raise TokenResponseError("the response is no bearer token") from None
