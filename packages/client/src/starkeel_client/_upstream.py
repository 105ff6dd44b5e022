"""An upstream: pool, breaker, limit of concurrent requests, bounded retries and hedged reads."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final, TypeGuard, final

import anyio
import httpx2
import structlog
from litestar.exceptions import HTTPException
from starkeel_config import Backoff

from ._attempt import Call, Failure, attempt
from ._breaker import Breaker
from ._budget import RetryBudget
from ._compat import Connections
from ._errors import BreakerOpenError, busy, invalid, retry_after_seconds, unavailable
from ._hedge import HedgePolicy
from ._limit import ConcurrencyLimit
from ._metrics import Outcome, UpstreamMetrics, Winner
from ._pool import Pool
from ._service_token import ServiceTokens
from ._settings import UpstreamSettings

_UNAVAILABLE: Final = frozenset({502, 503, 504})
"""Statuses for which the service did not process the call completely."""
_BACKOFF: Final = Backoff(base_s=0.05, cap_s=1.0)
_UPDATE_S: Final = 1.0
"""Seconds between two updates of the gauges."""

Result = httpx2.Response | Failure

log = structlog.get_logger(__name__)


@final
class Upstream:
    """Pool, breaker, limit and retry budget of an upstream, shared by all requests of a worker."""

    def __init__(self, name: str, settings: UpstreamSettings) -> None:
        self.name = name
        self.settings = settings
        self._pool = Pool(name, settings)
        self.tokens = None if settings.token_url is None else ServiceTokens(name, settings)
        """Access tokens of this service for the upstream, if `TOKEN_URL` is set."""
        self._breaker = Breaker(name, settings)
        self._budget = RetryBudget(settings.retry_budget_ratio)
        self._hedge = HedgePolicy(settings)
        self._in_flight = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Open the pool for the duration of the context."""
        settings = self.settings
        self._limit = ConcurrencyLimit(
            settings.max_requests or settings.max_connections, max_waiting=settings.max_waiting_requests
        )
        self._metrics = UpstreamMetrics(self.name)
        try:
            async with self._pool.open(), anyio.create_task_group() as tasks:
                tasks.start_soon(self._update_gauges)
                if self.tokens is not None:
                    tasks.start_soon(self.tokens.run)
                try:
                    yield
                finally:
                    tasks.cancel_scope.cancel()
        finally:
            self._metrics.set_gauges(breaker=None, in_flight=0, waiting=0, connections=Connections(0, 0, 0))

    async def send(self, call: Call) -> httpx2.Response:
        """Make a call, with retries that are safe and within the deadline, the limits and the budget.

        Raises:
            ServiceUnavailableException: The upstream is unavailable, its breaker is open, or too many
                requests to it are open.
            HTTPException: 502 when the response is invalid, 504 when the request's deadline has passed.
        """
        # Raises if the application is not started.
        _ = self._pool.transport
        attempts = 0
        while call.left_s() > 0:
            permit = await self._admit(call, attempts)
            if attempts:
                self._metrics.count_retry()
            began = time.perf_counter()
            delay_s = self._hedge.delay_s(call)
            if delay_s is None:
                outcome = await self._attempt(call, permit, attempts)
            else:
                outcome = await self._hedged(call, permit, attempts, delay_s)
            attempts += 1
            if _is_answer(outcome):
                self._hedge.record(call, time.perf_counter() - began)
                return outcome
            pause_s = self._retry_pause_s(call, outcome, attempts)
            if pause_s is None:
                raise self._error(call, outcome, attempts)
            await anyio.sleep(pause_s)
        raise self._timed_out(call, attempts)

    async def _admit(self, call: Call, attempts: int) -> int:
        """Wait for a slot, and return the permit of the breaker; `_attempt` returns both."""
        if not await self._limit.acquire(within_s=call.left_s()):
            self._metrics.count("limited")
            if call.is_bound_by_request and call.left_s() <= 0:
                raise self._timed_out(call, attempts)
            self._log(call, "UpstreamBusyError", attempts)
            raise busy(self.name)
        permit = self._breaker.admit()
        if permit is None:
            self._limit.release()
            self._metrics.count("rejected")
            raise unavailable(self.name, retry_after_s=self._breaker.open_s(), kind=BreakerOpenError)
        return permit

    async def _attempt(self, call: Call, permit: int, attempts: int) -> Result:
        """Make a call once, and record its result in breaker, budget and metrics."""
        connect_timeout_s = self.settings.connect_timeout_s
        began = time.perf_counter()
        # Unless there is another result.
        outcome: Outcome = "cancelled"
        self._in_flight += 1
        try:
            result = await attempt(
                self._pool.transport, call, resends=attempts, connect_timeout_s=connect_timeout_s
            )
            outcome = _outcome_of(result)
        finally:
            self._in_flight -= 1
            self._limit.release()
            took_s = time.perf_counter() - began
            self._metrics.count(outcome, took_s)
            is_failure = _is_failure(outcome, is_early=took_s < connect_timeout_s)
            self._breaker.record(permit, is_failure=is_failure)
        if outcome == "answered":
            self._budget.add_success()
        return result

    async def _hedged(self, call: Call, permit: int, attempts: int, delay_s: float) -> Result:
        """Make a call, and again after the delay; return the first response, and cancel the other request."""
        results: dict[Winner, Result] = {}
        is_sent = False

        async def send_again(scope: anyio.CancelScope) -> None:
            nonlocal is_sent
            await anyio.sleep(delay_s)
            second = self._admit_hedge()
            if second is None:
                return
            is_sent = True
            results["second"] = await self._attempt(call, second, attempts + 1)
            if _is_answer(results["second"]):
                scope.cancel()

        error: httpx2.LocalProtocolError | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send_again, tasks.cancel_scope)
            try:
                results["first"] = await self._attempt(call, permit, attempts)
            except httpx2.LocalProtocolError as caught:
                # Raised outside of the group, which would wrap it.
                error = caught
            if error or not is_sent or _is_answer(results["first"]):
                tasks.cancel_scope.cancel()
        if error:
            raise error
        answered = [winner for winner, result in results.items() if _is_answer(result)]
        winner = answered[0] if answered else "none"
        if is_sent:
            self._metrics.count_hedged(winner)
        return results[winner] if answered else results["first"]

    def _admit_hedge(self) -> int | None:
        """Return a permit for a second request; `None` if it would need what others wait for."""
        if self._breaker.state != "closed" or not self._limit.acquire_nowait():
            return None
        if not self._take_token():
            self._limit.release()
            return None
        return self._breaker.admit()

    async def _update_gauges(self) -> None:
        while True:
            self._metrics.set_gauges(
                breaker=self._breaker.state,
                in_flight=self._in_flight,
                waiting=self._limit.waiting,
                connections=self._pool.connections(),
            )
            await anyio.sleep(_UPDATE_S)

    def _retry_pause_s(self, call: Call, outcome: Result, attempts: int) -> float | None:
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
        return pause_s if pause_s is not None and self._take_token() else None

    def _take_token(self) -> bool:
        if self._budget.take():
            return True
        self._metrics.count_refused_retry()
        return False

    def _error(self, call: Call, outcome: Result, attempts: int) -> HTTPException:
        """Return the exception for a failed call; the message never contains the upstream's address."""
        if isinstance(outcome, Failure) and outcome.kind == "timeout":
            return self._timed_out(call, attempts)
        if isinstance(outcome, Failure):
            self._log(call, outcome.error_type, attempts, outcome.reason)
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

    def _log(self, call: Call, error_type: str, attempts: int, reason: str | None = None) -> None:
        log.warning(
            "upstream failed",
            upstream=self.name,
            method=call.method,
            route=call.route,
            error_type=error_type,
            attempts=attempts,
            **({} if reason is None else {"reason": reason}),
        )


def _is_answer(result: Result) -> TypeGuard[httpx2.Response]:
    """Return whether a result ends the call: any response of the service itself."""
    return not isinstance(result, Failure) and result.status_code not in _UNAVAILABLE


def _outcome_of(result: Result) -> Outcome:
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
