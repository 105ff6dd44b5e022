"""List of another service's ended sessions, fetched in the background."""

import time
from collections.abc import Set as AbstractSet
from math import inf
from time import monotonic
from typing import Annotated, final

import anyio
import msgspec
import structlog
from prometheus_client import Gauge
from starkeel_config import TlsFiles

from .._errors import AuthError
from .jwks import BACKOFF, START_S, fetch_changed
from .transport import IssuerTransport

MAX_DOCUMENT_BYTES = 8 * 1024 * 1024
"""Larger lists are rejected; this is enough for about 200,000 sessions that ended in one token lifetime."""

log = structlog.get_logger(__name__)

_FETCHED_AT = Gauge(
    "auth_revocations_fetched_timestamp_seconds",
    "When the list of ended sessions was last fetched, since 1970; 0 if never. The oldest of all workers.",
    multiprocess_mode="livemin",
)


class RevocationsUnavailableError(AuthError):
    """The list of ended sessions was never fetched, or the last fetches failed."""


class _Document(msgspec.Struct):
    sessions: frozenset[Annotated[str, msgspec.Meta(min_length=1, max_length=255)]]


@final
class RemoteRevocations:
    """The sessions that an issuer has ended while their access tokens were valid.

    A failed fetch leaves the last list in use: sessions on it stay revoked, and those that end meanwhile have
    valid tokens until a fetch succeeds or the tokens expire.

    Args:
        url: URL of the list.
        interval_s: Seconds between fetches.
        timeout_s: Seconds that a fetch may take.
        files: Files of TLS connections to the issuer.
    """

    def __init__(self, url: str, *, interval_s: float, timeout_s: float, files: TlsFiles) -> None:
        self._url = url
        self._files = files
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._ended: AbstractSet[str] = frozenset()
        self._etag: str | None = None
        self._fetched_at = -inf
        self._started_at = inf
        self._failures = 0
        self.first_attempt = anyio.Event()
        """Set when the first fetch has succeeded or failed."""

    def has_ended(self, session_id: str | None) -> bool:
        """Return whether a session is on the list; tokens without a session never are."""
        return session_id in self._ended

    def check(self) -> None:
        """Raise RevocationsUnavailableError when the list is older than three intervals."""
        age_s = monotonic() - self._fetched_at
        if age_s > 3 * self._interval_s + self._timeout_s:
            age = "was never fetched" if age_s == inf else f"is {age_s:.0f} seconds old"
            raise RevocationsUnavailableError(f"the list of ended sessions {age}")

    async def run(self) -> None:
        """Fetch the list now and then at every interval, with a backoff after failures, until cancelled."""
        _FETCHED_AT.set(0)
        self._started_at = monotonic()
        async with IssuerTransport(self._url, self._files) as transport:
            while True:
                started_at = monotonic()
                await self._refresh(transport)
                pause_s = self._interval_s
                if self._failures:
                    backoff_s = BACKOFF.pause_s(self._failures - 1)
                    # Without any list the next fetch is early: the issuer may only have started later.
                    pause_s = backoff_s if self._fetched_at == -inf else max(pause_s, backoff_s)
                await anyio.sleep(max(0.0, started_at + pause_s - monotonic()))

    async def _refresh(self, transport: IssuerTransport) -> None:
        try:
            with anyio.fail_after(self._timeout_s):
                document = await fetch_changed(
                    await transport.current(), self._url, etag=self._etag, max_bytes=MAX_DOCUMENT_BYTES
                )
            if document is not None:
                self._ended, self._etag = _parsed(document.content), document.etag
        except Exception as error:  # noqa: BLE001  (the next fetch may succeed)
            self._failures += 1
            is_starting = self._fetched_at == -inf and monotonic() - self._started_at < START_S
            (log.info if is_starting else log.warning)(
                "revocation list fetch failed",
                url=self._url,
                error=f"{type(error).__name__}: {error}",
                sessions=len(self._ended),
            )
        else:
            self._failures = 0
            self._fetched_at = monotonic()
            _FETCHED_AT.set(time.time())
        self.first_attempt.set()


def _parsed(document: bytes) -> AbstractSet[str]:
    try:
        return msgspec.json.decode(document, type=_Document).sessions
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise AuthError("the response is not a list of ended sessions") from None
