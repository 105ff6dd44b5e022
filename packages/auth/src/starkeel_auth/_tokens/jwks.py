"""Cache of another service's public keys (JWKS), refreshed in the background."""

import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from math import inf
from time import monotonic
from typing import Annotated, Any, Literal, NamedTuple, final

import anyio
import httpx2
import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from starkeel_config import Backoff, TlsFiles

from .._errors import AuthError, KeysUnavailableError
from .._settings import AuthSettings
from .transport import IssuerTransport

MAX_DOCUMENT_BYTES = 65_536
"""Larger key sets are rejected; a typical one has a few hundred bytes."""

FETCH_INTERVAL_S = 1.0
"""Minimum seconds between fetches: any caller can trigger one, by a token with an unknown key ID."""

_MIN_RETRY_S = 1.0
BACKOFF = Backoff(base_s=_MIN_RETRY_S, cap_s=30.0, jitter=0.0)

START_S = 30.0
"""Seconds after its start for which a first fetch that fails is no warning: services may start together."""

_ETAG = re.compile(r'(?:W/)?"[!#-~]{0,200}"')
# RFC 7517, 8.5.2 registers `application/jwk-set+json`; most issuers send `application/json`.
_MEDIA_TYPE = re.compile(r"application/(?:jwk-set\+)?json", re.IGNORECASE)

log = structlog.get_logger(__name__)

Keys = Mapping[str, Ed25519PublicKey]


class KeySetError(AuthError):
    """The fetched document is not a valid key set."""


@final
class RemoteKeys:
    """A `KeySource` that caches an issuer's published keys.

    Only `run` fetches, so that cancelling a request does not cancel a fetch that other requests await.
    """

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings
        self._keys: Keys = {}
        self._fetched_at = self._failed_at = -inf
        self._started_at = inf
        self._failures = 0
        self.first_attempt = anyio.Event()
        """Set when the first fetch has succeeded or failed."""
        self._fetch_requested = anyio.Event()
        self._fetch_done = anyio.Event()
        # Until `run` starts there is no fetch to wait for.
        self._fetch_done.set()

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key with an ID. An unknown ID waits for the next fetch, which many requests share.

        Raises:
            KeysUnavailableError: The keys were never fetched or have exceeded their maximum age.
        """
        if not self._is_usable():
            if monotonic() - self._failed_at >= _MIN_RETRY_S:
                await self._wait_for_fetch()
            self.check()
        elif kid not in self._keys:
            await self._wait_for_fetch()
        return self._keys.get(kid)

    @property
    def were_fetched(self) -> bool:
        """Whether keys were fetched at least once."""
        return self._fetched_at > -inf

    def check(self) -> None:
        """Raise KeysUnavailableError when there are no usable keys."""
        if not self._is_usable():
            raise KeysUnavailableError("the issuer's keys are not available")

    async def run(self) -> None:
        """Fetch the keys now, then at every refresh interval and when `find` requests it, until cancelled."""
        settings = self._settings
        files = TlsFiles(settings.tls_ca_file, settings.tls_cert_file, settings.tls_key_file)
        async with IssuerTransport(settings.jwks_url, files) as transport:
            # Created here, because an event belongs to the event loop it is created in.
            self._fetch_requested, self._fetch_done = anyio.Event(), anyio.Event()
            self._started_at = monotonic()
            try:
                while True:
                    started_at = monotonic()
                    await self._refresh(transport)
                    refresh_s = self._settings.jwks_refresh_s
                    pause_s = BACKOFF.pause_s(self._failures - 1) if self._failures else refresh_s
                    with anyio.move_on_after(pause_s):
                        await self._fetch_requested.wait()
                    await anyio.sleep(max(0.0, started_at + FETCH_INTERVAL_S - monotonic()))
            finally:
                self._fetch_done.set()

    def _is_usable(self) -> bool:
        return monotonic() - self._fetched_at <= self._settings.jwks_max_age_s

    async def _wait_for_fetch(self) -> None:
        """Wait for the current fetch, or request one and wait for it."""
        done = self._fetch_done
        self._fetch_requested.set()
        await done.wait()

    async def _refresh(self, transport: IssuerTransport) -> None:
        try:
            with anyio.fail_after(self._settings.jwks_timeout_s):
                keys = parse_key_set(await fetch(await transport.current(), self._settings.jwks_url))
        except Exception as error:  # noqa: BLE001  (the next fetch may succeed)
            self._failures += 1
            self._failed_at = monotonic()
            is_starting = not self.were_fetched and monotonic() - self._started_at < START_S
            (log.info if is_starting else log.warning)(
                "token key fetch failed",
                url=self._settings.jwks_url,
                error=f"{type(error).__name__}: {error}",
                keys=len(self._keys),
            )
        else:
            self._failures, self._failed_at = 0, -inf
            self._fetched_at = monotonic()
            added, removed = sorted(keys.keys() - self._keys.keys()), sorted(self._keys.keys() - keys.keys())
            if added or removed:
                log.info("token keys changed", added=added, removed=removed)
            self._keys = keys
        # Requests that arrived during this fetch are done; later ones wait for the next fetch.
        self.first_attempt.set()
        done, self._fetch_done, self._fetch_requested = self._fetch_done, anyio.Event(), anyio.Event()
        done.set()


class Document(NamedTuple):
    """A fetched document and its version."""

    content: bytes
    etag: str | None


async def fetch(
    transport: httpx2.AsyncHTTPTransport, url: str, *, max_bytes: int = MAX_DOCUMENT_BYTES
) -> bytes:
    """Return a JSON document of the issuer.

    Raises:
        KeySetError: The status is not 200, or the document has more than `max_bytes`.
    """
    return (await _fetch(transport, url, {}, max_bytes)).content


async def fetch_changed(
    transport: httpx2.AsyncHTTPTransport, url: str, *, etag: str | None, max_bytes: int
) -> Document | None:
    """Return a JSON document of the issuer, or `None` if it still has the version of `etag`.

    Raises:
        KeySetError: As `fetch`.
    """
    if etag is None:
        return await _fetch(transport, url, {}, max_bytes)
    try:
        return await _fetch(transport, url, {"If-None-Match": etag}, max_bytes)
    except _UnchangedError:
        return None


class _UnchangedError(KeySetError):
    pass


async def _fetch(
    transport: httpx2.AsyncHTTPTransport, url: str, conditions: Mapping[str, str], max_bytes: int
) -> Document:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", **conditions}
    response = await transport.handle_async_request(httpx2.Request("GET", url, headers=headers))
    try:
        if response.status_code == 304 and conditions:
            raise _UnchangedError("the document is unchanged")
        if response.status_code != 200:
            raise KeySetError(f"the response has status {response.status_code}")
        media_type = response.headers.get("content-type", "").partition(";")[0].strip()
        if not _MEDIA_TYPE.fullmatch(media_type):
            raise KeySetError(f"the response has the media type {media_type[:100]!r}, not application/json")
        encoding = response.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            # Not requested; and a few bytes can become a gigabyte.
            raise KeySetError(f"the response has the content encoding {encoding[:100]!r}")
        document = b""
        async for chunk in response.aiter_raw():
            document += chunk
            if len(document) > max_bytes:
                raise KeySetError(f"the response is larger than {max_bytes} bytes")
        etag = response.headers.get("etag")
        return Document(document, etag if etag and _ETAG.fullmatch(etag) else None)
    finally:
        await response.aclose()


class _KeySet(msgspec.Struct):
    keys: Annotated[list[Any], msgspec.Meta(max_length=256)]


class _Key(msgspec.Struct):
    """A public key for EdDSA signatures (RFC 8037)."""

    kid: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    alg: Literal["EdDSA", "Ed25519"] = "EdDSA"
    use: Literal["sig"] = "sig"
    key_ops: tuple[Any, ...] = ("verify",)
    d: Any = msgspec.UNSET  # only private keys have it


def parse_key_set(document: bytes) -> Keys:
    """Return the supported keys of a JSON Web Key Set by ID; others are ignored.

    Raises:
        KeySetError: The document is not a key set, or has no supported key.
    """
    try:
        entries = msgspec.json.decode(document, type=_KeySet).keys
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise KeySetError("the response is not a JSON Web Key Set") from None
    keys: dict[str, Ed25519PublicKey] = {}
    for entry in entries:
        try:
            key = msgspec.convert(entry, _Key)
            if key.d is msgspec.UNSET and "verify" in key.key_ops:
                octets = urlsafe_b64decode(key.x + "=" * (-len(key.x) % 4))
                # On duplicate IDs the first key is kept: a later entry must not replace a trusted key.
                keys.setdefault(key.kid, Ed25519PublicKey.from_public_bytes(octets))
        except (msgspec.ValidationError, ValueError):
            continue
    if not keys:
        raise KeySetError("the key set has no usable key")
    return keys
