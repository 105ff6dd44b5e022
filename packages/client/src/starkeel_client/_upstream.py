"""An upstream: its pool, and calls that are repeated within bounds."""

import math
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import final

import anyio
import httpx2
import structlog
from litestar.exceptions import HTTPException, ServiceUnavailableException

from ._attempt import UNREADABLE, attempt
from ._call import Call, Failure
from ._retry import RetryBudget, is_answer, may_pass, retry_after_s, wait_s
from ._settings import UpstreamSettings

_IDLE_S = 30.0
"""Seconds an unused connection is kept: less than the 75 s after which our own servers close one."""

log = structlog.get_logger(__name__)


@final
class Upstream:
    """One pool of connections and one retry budget, shared by all requests of a worker.

    Args:
        name: What it is called in logs and errors.
        settings: Where it is and how long it may take.
    """

    def __init__(self, name: str, settings: UpstreamSettings) -> None:
        self.name = name
        self.settings = settings
        self._transport: httpx2.AsyncHTTPTransport | None = None
        self._budget = RetryBudget()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Hold the pool open."""
        settings = self.settings
        is_tls = settings.url.startswith("https:")
        limits = httpx2.Limits(
            max_connections=settings.max_connections,
            max_keepalive_connections=settings.max_connections,
            keepalive_expiry=_IDLE_S,
        )
        # A bare transport: no cookies (they would travel from one user's call to another's), no redirects, no
        # proxies of the environment, and no log line of its own. Loading the trusted authorities takes time.
        verify = ssl.create_default_context() if is_tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        async with httpx2.AsyncHTTPTransport(verify=verify, trust_env=False, limits=limits) as transport:
            self._transport = transport
            try:
                yield
            finally:
                self._transport = None

    async def send(self, call: Call) -> httpx2.Response:
        """Make a call, and make it again while that is harmless, in time and not too often.

        Raises:
            ServiceUnavailableException: The upstream is away.
            HTTPException: 502, its answer cannot be read; 504, the request's time is over.
        """
        transport = self._transport
        if transport is None:
            raise RuntimeError(f"the pool of {self.name} is not open: the application has not been started")
        self._budget.deposit()
        attempts = 0
        while call.left_s() > 0:
            outcome = await attempt(
                transport, call, resends=attempts, connect_timeout_s=self.settings.connect_timeout_s
            )
            attempts += 1
            if is_answer(outcome):
                return outcome
            pause_s = self._pause_s(call, outcome, attempts)
            if pause_s is None:
                raise self._refusal(call, outcome, attempts)
            await anyio.sleep(pause_s)
        raise self._too_late(call, attempts)

    def _pause_s(self, call: Call, outcome: httpx2.Response | Failure, attempts: int) -> float | None:
        """Seconds until the next attempt; None when there is to be none."""
        if attempts > self.settings.retries or not call.is_repeatable or not may_pass(outcome):
            return None
        pause_s = wait_s(outcome, attempts - 1)
        if pause_s >= call.left_s():
            return None
        # Asked last, as it costs.
        return pause_s if self._budget.withdraw() else None

    def _refusal(self, call: Call, outcome: httpx2.Response | Failure, attempts: int) -> HTTPException:
        """What is raised instead of an answer; it names the upstream and never its address."""
        if isinstance(outcome, Failure) and isinstance(outcome.cause, TimeoutError):
            return self._too_late(call, attempts)
        if isinstance(outcome, Failure):
            self._log(call, outcome.error_type, attempts)
            if isinstance(outcome.cause, UNREADABLE):
                return HTTPException(detail=f"The answer of {self.name} cannot be read.", status_code=502)
            return self._away(None)
        self._log(call, str(outcome.status_code), attempts)
        return self._away(retry_after_s(outcome))

    def _too_late(self, call: Call, attempts: int) -> HTTPException:
        self._log(call, "timeout", attempts)
        if call.is_bound_by_request:
            return HTTPException(
                detail=f"The time for this request ran out while waiting for {self.name}.", status_code=504
            )
        return self._away(None)

    def _away(self, retry_after_s: float | None) -> HTTPException:
        seconds = max(math.ceil(retry_after_s or 0), 1)
        return ServiceUnavailableException(
            f"{self.name} does not answer at the moment.", headers={"Retry-After": str(seconds)}
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
