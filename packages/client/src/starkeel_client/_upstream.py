"""An upstream: connection pool and bounded retries."""

import math
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, final

import anyio
import httpx2
import structlog
from litestar.exceptions import HTTPException, ServiceUnavailableException
from starkeel_config import Backoff, parse_retry_after

from ._attempt import UNREADABLE, Call, Failure, attempt
from ._settings import UpstreamSettings

_IDLE_S = 30.0
"""Keep-alive of idle connections in seconds; below the 75 s after which starkeel_server closes them."""

_UNAVAILABLE: Final = frozenset({502, 503, 504})
"""Statuses for which the service did not process the call completely."""
_BACKOFF: Final = Backoff(base_s=0.05, cap_s=1.0)
_MAX_RETRY_AFTER_S = 86_400.0
_TOKENS_PER_CALL = 0.2
_MAX_TOKENS = 10.0

log = structlog.get_logger(__name__)


@final
class Upstream:
    """Connection pool and retry budget of an upstream, shared by all requests of a worker."""

    def __init__(self, name: str, settings: UpstreamSettings) -> None:
        self.name = name
        self.settings = settings
        self._transport: httpx2.AsyncHTTPTransport | None = None
        # Token bucket that limits retries to a fifth of the calls: they would multiply the load of an
        # upstream that fails under load. Full at start, so that a service with few calls can retry.
        self._tokens = _MAX_TOKENS

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Open the pool for the duration of the context."""
        settings = self.settings
        is_tls = settings.url.startswith("https:")
        limits = httpx2.Limits(
            max_connections=settings.max_connections,
            max_keepalive_connections=settings.max_connections,
            keepalive_expiry=_IDLE_S,
        )
        # A bare transport has no cookies (which would leak between users), redirects, proxies or log lines.
        # The trusted authorities are loaded only for https, because loading takes time.
        verify = ssl.create_default_context() if is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        async with httpx2.AsyncHTTPTransport(verify=verify, trust_env=False, limits=limits) as transport:
            self._transport = transport
            try:
                yield
            finally:
                self._transport = None

    async def send(self, call: Call) -> httpx2.Response:
        """Make a call, with retries that are safe and within the deadline, the limit and the budget.

        Raises:
            ServiceUnavailableException: The upstream is unavailable.
            HTTPException: 502 when the response is invalid, 504 when the request's deadline has passed.
        """
        transport = self._transport
        if transport is None:
            raise RuntimeError(f"the pool of {self.name} is not open: the application is not started")
        self._tokens = min(self._tokens + _TOKENS_PER_CALL, _MAX_TOKENS)
        attempts = 0
        while call.left_s() > 0:
            outcome = await attempt(
                transport, call, resends=attempts, connect_timeout_s=self.settings.connect_timeout_s
            )
            attempts += 1
            if not isinstance(outcome, Failure) and outcome.status_code not in _UNAVAILABLE:
                return outcome
            pause_s = self._retry_pause_s(call, outcome, attempts)
            if pause_s is None:
                raise self._error(call, outcome, attempts)
            await anyio.sleep(pause_s)
        raise self._timed_out(call, attempts)

    def _retry_pause_s(self, call: Call, outcome: httpx2.Response | Failure, attempts: int) -> float | None:
        """Return the seconds until the next attempt, or None when there is none."""
        is_transient = not isinstance(outcome, Failure) or outcome.is_transient
        if attempts > self.settings.retries or not call.is_repeatable or not is_transient:
            return None
        at_least_s = _retry_after_s(outcome) or 0.0
        pause_s = _BACKOFF.pause_within_s(attempts - 1, left_s=call.left_s(), at_least_s=at_least_s)
        if pause_s is None or self._tokens < 1:
            return None
        self._tokens -= 1
        return pause_s

    def _error(self, call: Call, outcome: httpx2.Response | Failure, attempts: int) -> HTTPException:
        """Return the exception for a failed call; the message never contains the upstream's address."""
        if isinstance(outcome, Failure) and isinstance(outcome.cause, TimeoutError):
            return self._timed_out(call, attempts)
        if isinstance(outcome, Failure):
            self._log(call, outcome.error_type, attempts)
            if isinstance(outcome.cause, UNREADABLE):
                return HTTPException(detail=f"The response of {self.name} is invalid.", status_code=502)
            return self._unavailable(None)
        self._log(call, str(outcome.status_code), attempts)
        return self._unavailable(_retry_after_s(outcome))

    def _timed_out(self, call: Call, attempts: int) -> HTTPException:
        self._log(call, "timeout", attempts)
        if call.is_bound_by_request:
            return HTTPException(
                detail=f"The request timed out while waiting for {self.name}.", status_code=504
            )
        return self._unavailable(None)

    def _unavailable(self, retry_after_s: float | None) -> HTTPException:
        seconds = max(math.ceil(retry_after_s or 0), 1)
        return ServiceUnavailableException(
            f"{self.name} is currently unavailable.", headers={"Retry-After": str(seconds)}
        )

    def _log(self, call: Call, error_type: str, attempts: int) -> None:
        log.warning(
            "upstream failed",
            upstream=self.name,
            method=call.method,
            route=call.route,
            error_type=error_type,
            attempts=attempts,
        )


def _retry_after_s(outcome: httpx2.Response | Failure) -> float | None:
    if isinstance(outcome, Failure):
        return None
    return parse_retry_after(outcome.headers.get("retry-after"), max_s=_MAX_RETRY_AFTER_S)
