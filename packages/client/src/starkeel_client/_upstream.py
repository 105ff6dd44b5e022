"""An upstream: connection pool, circuit breaker and bounded retries."""

import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, final

import anyio
import httpx2
import structlog
from litestar.exceptions import HTTPException
from starkeel_config import Backoff

from ._attempt import Call, Failure, attempt
from ._breaker import Breaker
from ._compat import Connections, connections_of
from ._errors import BreakerOpenError, invalid, retry_after_seconds, unavailable
from ._metrics import Outcome, UpstreamMetrics
from ._service_token import ServiceTokens
from ._settings import UpstreamSettings

_IDLE_S = 30.0
"""Keep-alive of idle connections in seconds; below the 75 s after which starkeel_server closes them."""

_UNAVAILABLE: Final = frozenset({502, 503, 504})
"""Statuses for which the service did not process the call completely."""
_BACKOFF: Final = Backoff(base_s=0.05, cap_s=1.0)
_TOKENS_PER_CALL = 0.2
_MAX_TOKENS = 10.0
_UPDATE_S: Final = 1.0
"""Seconds between two updates of the gauges."""

log = structlog.get_logger(__name__)


@final
class Upstream:
    """Connection pool, breaker and retry budget of an upstream, shared by all requests of a worker."""

    def __init__(self, name: str, settings: UpstreamSettings) -> None:
        self.name = name
        self.settings = settings
        self._transport: httpx2.AsyncHTTPTransport | None = None
        self.tokens = None if settings.token_url is None else ServiceTokens(name, settings)
        """Access tokens of this service for the upstream, if `TOKEN_URL` is set."""
        self._breaker = Breaker(name, settings)
        self._in_flight = 0
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
            self._metrics = UpstreamMetrics(self.name)
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._update_gauges)
                    if self.tokens is not None:
                        tasks.start_soon(self.tokens.run)
                    try:
                        yield
                    finally:
                        tasks.cancel_scope.cancel()
            finally:
                self._transport = None
                self._metrics.set_gauges(breaker=None, in_flight=0, connections=Connections(0, 0, 0))

    async def send(self, call: Call) -> httpx2.Response:
        """Make a call, with retries that are safe and within the deadline, the limit and the budget.

        Raises:
            ServiceUnavailableException: The upstream is unavailable, or its breaker is open.
            HTTPException: 502 when the response is invalid, 504 when the request's deadline has passed.
        """
        transport = self._transport
        if transport is None:
            raise RuntimeError(f"the pool of {self.name} is not open: the application is not started")
        self._tokens = min(self._tokens + _TOKENS_PER_CALL, _MAX_TOKENS)
        attempts = 0
        while call.left_s() > 0:
            permit = self._breaker.admit()
            if permit is None:
                self._metrics.count("rejected")
                raise unavailable(self.name, retry_after_s=self._breaker.open_s(), kind=BreakerOpenError)
            if attempts:
                self._metrics.count_retry()
            outcome = await self._attempt(transport, call, permit, attempts)
            attempts += 1
            if not isinstance(outcome, Failure) and outcome.status_code not in _UNAVAILABLE:
                return outcome
            pause_s = self._retry_pause_s(call, outcome, attempts)
            if pause_s is None:
                raise self._error(call, outcome, attempts)
            await anyio.sleep(pause_s)
        raise self._timed_out(call, attempts)

    async def _attempt(
        self, transport: httpx2.AsyncHTTPTransport, call: Call, permit: int, attempts: int
    ) -> httpx2.Response | Failure:
        """Make a call once, and record its result in breaker and metrics."""
        connect_timeout_s = self.settings.connect_timeout_s
        began = time.perf_counter()
        # Unless there is another result.
        outcome: Outcome = "cancelled"
        self._in_flight += 1
        try:
            result = await attempt(transport, call, resends=attempts, connect_timeout_s=connect_timeout_s)
            outcome = _outcome_of(result)
        finally:
            self._in_flight -= 1
            took_s = time.perf_counter() - began
            self._metrics.count(outcome, took_s)
            is_failure = _is_failure(outcome, is_early=took_s < connect_timeout_s)
            self._breaker.record(permit, is_failure=is_failure)
        return result

    async def _update_gauges(self) -> None:
        while (transport := self._transport) is not None:
            self._metrics.set_gauges(
                breaker=self._breaker.state,
                in_flight=self._in_flight,
                connections=connections_of(transport),
            )
            await anyio.sleep(_UPDATE_S)

    def _retry_pause_s(self, call: Call, outcome: httpx2.Response | Failure, attempts: int) -> float | None:
        """Return the seconds until the next attempt, or None when there is none."""
        # No retry when the pool is exhausted, which is local: it would wait just as long.
        is_transient = not isinstance(outcome, Failure) or outcome.kind == "connection_error"
        if attempts > self.settings.retries or not call.is_repeatable or not is_transient:
            return None
        # A retry must not be the probe of a breaker that this call has opened.
        if self._breaker.state != "closed":
            return None
        at_least_s = 0.0 if isinstance(outcome, Failure) else retry_after_seconds(outcome) or 0.0
        pause_s = _BACKOFF.pause_within_s(attempts - 1, left_s=call.left_s(), at_least_s=at_least_s)
        if pause_s is None or self._tokens < 1:
            return None
        self._tokens -= 1
        return pause_s

    def _error(self, call: Call, outcome: httpx2.Response | Failure, attempts: int) -> HTTPException:
        """Return the exception for a failed call; the message never contains the upstream's address."""
        if isinstance(outcome, Failure) and outcome.kind == "timeout":
            return self._timed_out(call, attempts)
        if isinstance(outcome, Failure):
            self._log(call, outcome.error_type, attempts)
            if outcome.kind == "invalid":
                return invalid(self.name)
            return unavailable(self.name)
        self._log(call, str(outcome.status_code), attempts)
        return unavailable(self.name, outcome)

    def _timed_out(self, call: Call, attempts: int) -> HTTPException:
        self._log(call, "timeout", attempts)
        if call.is_bound_by_request:
            return HTTPException(
                detail=f"The request timed out while waiting for {self.name}.", status_code=504
            )
        return unavailable(self.name)

    def _log(self, call: Call, error_type: str, attempts: int) -> None:
        log.warning(
            "upstream failed",
            upstream=self.name,
            method=call.method,
            route=call.route,
            error_type=error_type,
            attempts=attempts,
        )


def _outcome_of(result: httpx2.Response | Failure) -> Outcome:
    if isinstance(result, Failure):
        return result.kind
    return "unavailable" if result.status_code in _UNAVAILABLE else "answered"


def _is_failure(outcome: Outcome, *, is_early: bool) -> bool | None:
    """Return whether the upstream failed; `None` if it is no evidence.

    Args:
        outcome: Result of a request.
        is_early: Whether it ended within the time that a connection alone may take: the deadline of an
            incoming request can be so short that no upstream would meet it.
    """
    if outcome in {"cancelled", "no_connection"} or (outcome == "timeout" and is_early):
        return None
    return outcome in {"connection_error", "timeout", "unavailable"}
