"""The public keys of another service: fetched, kept, and fetched again before they are too old."""

import ssl
import time
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from typing import Annotated, Any, final

import anyio
import httpx2
import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .._errors import AuthError, KeysUnavailableError
from .._settings import AuthSettings

MAX_DOCUMENT_BYTES = 65_536
"""A key set larger than this is not read: one of ours has a few hundred bytes."""

UNKNOWN_KEY_INTERVAL_S = 60.0
"""Seconds between two fetches for the sake of unknown keys, which anybody can name as often as he likes."""

_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 30.0

log = structlog.get_logger(__name__)

Keys = Mapping[str, Ed25519PublicKey]


class _KeySet(msgspec.Struct):
    keys: Annotated[list[Any], msgspec.Meta(max_length=256)]


class KeySetError(AuthError):
    """What was fetched is no key set."""


@final
class RemoteKeys:
    """A `KeySource` that holds an issuer's published keys.

    `run` does all fetching, so that a request which is cancelled stops no fetch that others wait for.

    Args:
        settings: Where from, how often, how long.
        clock: Monotonic seconds.
    """

    def __init__(self, settings: AuthSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._keys: Keys = {}
        self._fetched_at: float | None = None
        self._asked_for_unknown_at: float | None = None
        self._failures = 0
        self._failed_at: float | None = None
        self._wanted = anyio.Event()
        self._answered = anyio.Event()
        self._is_running = False

    async def find(self, kid: str) -> Ed25519PublicKey | None:
        """Return the key of that name, fetching the keys anew when it is unknown, at most once a minute.

        Raises:
            KeysUnavailableError: The keys were never fetched, or longer ago than they are trusted.
        """
        if not self._is_usable():
            if not self._has_just_failed():
                await self._fetched()
            self.check()
        elif kid not in self._keys and self._may_ask_for_unknown():
            await self._fetched()
        return self._keys.get(kid)

    def check(self) -> None:
        """Raise KeysUnavailableError when no token can be verified."""
        if not self._is_usable():
            raise KeysUnavailableError("the keys that verify tokens cannot be had")

    async def run(self) -> None:
        """Fetch the keys now, then for ever before they are too old, and whenever somebody waits for them."""
        verify = ssl.create_default_context()
        # A bare transport: no cookies, redirects or proxies, and no log line of its own.
        async with httpx2.AsyncHTTPTransport(verify=verify, trust_env=False) as transport:
            # Made here, as an event belongs to the loop it is made in.
            self._wanted, self._answered = anyio.Event(), anyio.Event()
            self._is_running = True
            try:
                while True:
                    await self._refresh(transport)
                    with anyio.move_on_after(self._pause_s()):
                        await self._wanted.wait()
            finally:
                self._is_running = False
                self._answered.set()

    def _is_usable(self) -> bool:
        return (
            self._fetched_at is not None and self._clock() - self._fetched_at <= self._settings.jwks_max_age_s
        )

    def _has_just_failed(self) -> bool:
        return self._failed_at is not None and self._clock() - self._failed_at < _FIRST_RETRY_S

    def _may_ask_for_unknown(self) -> bool:
        now, asked_at = self._clock(), self._asked_for_unknown_at
        if asked_at is not None and now - asked_at < UNKNOWN_KEY_INTERVAL_S:
            return False
        self._asked_for_unknown_at = now
        return True

    def _pause_s(self) -> float:
        if self._failures:
            return min(_FIRST_RETRY_S * 2.0 ** min(self._failures - 1, 10), _LONGEST_RETRY_S)
        return self._settings.jwks_refresh_s

    async def _fetched(self) -> None:
        """Wait for one fetch: the one under way, or one begun for us."""
        if not self._is_running:
            return
        answered = self._answered
        self._wanted.set()
        await answered.wait()

    async def _refresh(self, transport: httpx2.AsyncHTTPTransport) -> None:
        try:
            keys = await self._fetch(transport)
        except Exception as error:  # noqa: BLE001  (whatever went wrong, the next fetch may go well)
            self._failures += 1
            self._failed_at = self._clock()
            log.warning(
                "token keys not fetched",
                url=self._settings.jwks_url,
                error=f"{type(error).__name__}: {error}",
                keys=len(self._keys),
            )
        else:
            self._failures, self._failed_at = 0, None
            self._fetched_at = self._clock()
            self._keep(keys)
        # Whoever asked while this went on is answered by it; who asks from here on waits for the next.
        answered, self._answered, self._wanted = self._answered, anyio.Event(), anyio.Event()
        answered.set()

    def _keep(self, keys: Keys) -> None:
        if not keys:
            log.error("token keys empty: no token is accepted", url=self._settings.jwks_url)
        added, removed = sorted(keys.keys() - self._keys.keys()), sorted(self._keys.keys() - keys.keys())
        if added or removed:
            log.info("token keys changed", added=added, removed=removed)
        self._keys = keys

    async def _fetch(self, transport: httpx2.AsyncHTTPTransport) -> Keys:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        request = httpx2.Request("GET", self._settings.jwks_url, headers=headers)
        with anyio.fail_after(self._settings.jwks_timeout_s):
            answer = await transport.handle_async_request(request)
            try:
                return parsed(await _document(answer))
            finally:
                await answer.aclose()


async def _document(answer: httpx2.Response) -> bytes:
    if answer.status_code != 200:
        raise KeySetError(f"the answer has status {answer.status_code}")
    document = bytearray()
    async for chunk in answer.aiter_raw():
        document += chunk
        if len(document) > MAX_DOCUMENT_BYTES:
            raise KeySetError(f"the answer is larger than {MAX_DOCUMENT_BYTES} bytes")
    return bytes(document)


def parsed(document: bytes) -> Keys:
    """Read the keys we can use from a JSON Web Key Set, by name; others are none of our business.

    Raises:
        KeySetError: It is no key set.
    """
    try:
        entries = msgspec.json.decode(document, type=_KeySet).keys
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise KeySetError("the answer is not a JSON Web Key Set") from None
    keys: dict[str, Ed25519PublicKey] = {}
    for entry in entries:
        kid = entry.get("kid") if isinstance(entry, dict) else None
        key = _public_key(entry) if isinstance(kid, str) and 0 < len(kid) <= 255 else None
        if key is not None:
            # The first of that name stays: what comes later must not replace what is trusted.
            keys.setdefault(str(kid), key)
    return keys


def _public_key(entry: dict[str, Any]) -> Ed25519PublicKey | None:
    """The key, if it is one that verifies EdDSA signatures and nothing else."""
    if entry.get("kty") != "OKP" or entry.get("crv") != "Ed25519" or "d" in entry:
        return None
    if entry.get("alg", "EdDSA") not in ("EdDSA", "Ed25519") or entry.get("use", "sig") != "sig":
        return None
    operations, x = entry.get("key_ops", ["verify"]), entry.get("x")
    if not isinstance(operations, list) or "verify" not in operations or not isinstance(x, str):
        return None
    try:
        return Ed25519PublicKey.from_public_bytes(urlsafe_b64decode(x + "=" * (-len(x) % 4)))
    except (ValueError, Base64Error):
        return None
