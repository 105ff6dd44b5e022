"""The edge layer: deadline, body limit, rate limits by address, CORS, headers and error responses."""

import asyncio
from math import isfinite
from typing import Any, Final

import structlog
from litestar.exceptions import PermissionDeniedException
from starkeel_asgi import (
    TOO_LARGE,
    DeadlineQueue,
    DeadlineQueues,
    Exchange,
    HttpExchange,
    LayerOrder,
    WebSocketExchange,
)

from .._base.addresses import rate_limit_keys
from .._base.route_options import Policy
from .._errors.problem import Problem
from .._errors.report import broken_off, render, report
from .._preconditions.reads import READ_CONDITIONS, prepare_read
from .._rate_limit.limiter import Limiter, address_usages
from .._rate_limit.streams import REFUSED, StreamLimits
from .headers import Cors, is_same_origin
from .request_limits import RequestLimits

log = structlog.get_logger(__name__)

POLICY: Final = "starkeel_http.policy"
"""Key of a route's policy in its handler's `opt`."""

_TIMED_OUT: Final = Problem(504, "The request exceeded its time limit.")
_STALLED: Final = Problem(408, "The request's body did not arrive in time.")
_CLOSE_TIMED_OUT: Final = 4504
_is_unconditional: Final = READ_CONDITIONS.isdisjoint
_DISCARD_S: Final = 1.0
_DISCARD_BODIES: Final = 4


class Edge:
    """Applies the policy of its route to each request.

    Args:
        policy: The policy of requests whose route has none.
        cors: The origins that may read responses; None for no other than the service's own.
        limiter: Counts requests.
        streams: Counts open event streams and WebSockets.
        limits: Limits of a request's target and header fields.
    """

    order: Final = LayerOrder.EDGE
    applies_when_mounted: Final = True

    def __init__(
        self,
        policy: Policy,
        cors: Cors | None,
        limiter: Limiter,
        streams: StreamLimits,
        limits: RequestLimits,
    ) -> None:
        self._policy = policy
        self._cors = cors
        self._limiter = limiter
        self._streams = streams
        self._limits = limits
        self.open()

    def open(self) -> None:
        """Prepare for another event loop."""
        self._deadlines = DeadlineQueues()

    def begin(self, exchange: Any) -> None:
        """Start the deadline, and decide whether the application runs at once."""
        route, headers = exchange.route, exchange.headers
        policy = self._policy if route is None else route.handler.opt.get(POLICY, self._policy)
        exchange.policy = policy
        queue = self._deadlines.shared(policy.timeout_s)
        exchange.set_deadline(_callers(exchange, policy, queue) if b"x-request-timeout" in headers else queue)
        if self._cors is not None:
            exchange.added_headers = self._cors.headers(headers.get(b"origin"))
        if type(exchange) is HttpExchange:
            limit = exchange.max_body_bytes = policy.max_body_bytes
            length = headers.get(b"content-length")
            if (length is not None and _is_too_large(length, limit)) or (
                b"origin" in headers and exchange.facts[0] == "OPTIONS"
            ):
                exchange.intercept = self._intercept
            if policy.has_entity_tag or not _is_unconditional(headers):
                prepare_read(exchange, policy)
            elif policy.compression is not None:
                exchange.shape_response = policy.compression.shape
        elif b"origin" in headers:
            exchange.intercept = self._intercept
        is_checked = policy.by_address or policy.is_stream
        if is_checked or (policy.query is not None and exchange.scope["query_string"]):
            exchange.intercept = self._intercept
        if self._limits.is_exceeded(exchange):
            exchange.intercept = self._limits.refuse

    def end(self, exchange: Exchange, _error: BaseException | None) -> None:
        """Remove the deadline."""
        exchange.lift_deadline()

    async def conclude(
        self, exchange: HttpExchange | WebSocketExchange, error: BaseException | None
    ) -> BaseException | None:
        """Respond where the deadline passed or the application raised; return what the server must know."""
        if exchange.is_expired:
            is_alone = exchange.is_cancelled_by_deadline_alone()
            if isinstance(error, asyncio.CancelledError) and not is_alone:
                return error
            # Also for an application that ignored its cancellation: the client must get a response.
            return None if exchange.is_complete else await self._time_out(exchange)
        exchange.lift_deadline()
        if error is None:
            if isinstance(exchange, HttpExchange) and exchange.is_body_too_large:
                await _discard(exchange)
            return None
        if isinstance(exchange, HttpExchange):
            return broken_off(exchange, error) if exchange.is_started else error
        if isinstance(error, Exception) and not exchange.is_started:
            problem = report(error, exchange.scope)
            await exchange.close(4000 + problem.status, problem.detail)
            return None
        return error

    async def _intercept(self, exchange: HttpExchange | WebSocketExchange) -> bool:
        if isinstance(exchange, HttpExchange):
            if exchange.method == "OPTIONS" and self._cors is not None:
                preflight = self._cors.preflight(exchange.headers)
                if preflight is not None:
                    await exchange.respond(204, preflight, b"")
                    return False
            limit = exchange.max_body_bytes
            if _is_too_large(exchange.headers.get(b"content-length", b""), limit):
                problem = Problem(413, TOO_LARGE.format(limit))
                await exchange.respond(*render(problem, exchange))
                await _discard(exchange)
                return False
        else:
            self._check_origin(exchange)
        policy, client = exchange.policy, exchange.client or "unknown"
        if policy.by_address:
            usages = address_usages(policy.by_address, client)
            if (policy.by_user or policy.by_account) and isinstance(exchange, HttpExchange):
                self._limiter.postpone(exchange, usages)
            else:
                await self._limiter.count(exchange, usages)
        if policy.is_stream:
            self._streams.count(exchange, "address", rate_limit_keys(client)[0])
        if policy.query is not None:
            policy.query.check(exchange.scope["query_string"])
        return True

    def _check_origin(self, exchange: WebSocketExchange) -> None:
        """Refuse a WebSocket that the page of another origin opens: browsers do not (RFC 6455, 10.2).

        Other clients send no `Origin`.
        """
        origin = exchange.headers.get(b"origin")
        if origin is None or (self._cors is not None and self._cors.allows(origin)):
            return
        if not is_same_origin(origin, exchange.headers.get(b"host", b"")):
            REFUSED.labels("websocket", "origin").inc()
            raise PermissionDeniedException("The origin is not allowed.")

    async def _time_out(self, exchange: HttpExchange | WebSocketExchange) -> Exception | None:
        scope = exchange.scope
        route = None if exchange.route is None else exchange.route.template
        log.warning("request timed out", method=exchange.method, route=route)
        if isinstance(exchange, WebSocketExchange):
            await exchange.close(_CLOSE_TIMED_OUT, "Gateway Timeout")
            return None
        if exchange.is_started:
            # A partially sent response cannot be corrected; raise so that the server closes the connection.
            return TimeoutError("the deadline passed while the response was being sent")
        if not exchange.is_reading_body:
            scope["state"]["error_type"] = "TimeoutError"
        problem = _STALLED if exchange.is_reading_body else _TIMED_OUT
        await exchange.respond(*render(problem, exchange))
        return None


def _callers(exchange: Exchange, policy: Policy, queue: DeadlineQueue) -> DeadlineQueue:
    """Return the queue of the caller's deadline, if a service of the system sent a shorter one."""
    if exchange.is_internal:
        left_s = _parse_timeout(exchange.headers[b"x-request-timeout"])
        if left_s is not None and left_s < policy.timeout_s:
            return DeadlineQueue(left_s)
    return queue


def _parse_timeout(value: bytes) -> float | None:
    """Parse `X-Request-Timeout`: a positive number of seconds; return None for anything else."""
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if isfinite(seconds) and seconds > 0 else None


def _is_too_large(content_length: bytes, limit: int | None) -> bool:
    # Enough digits to be too large, and not so many that Python refuses them.
    return limit is not None and content_length.isdigit() and int(content_length[:18]) > limit


async def _discard(exchange: HttpExchange) -> None:
    """Read the rest of a body for a while: a client that is cut off while sending may lose the response."""
    try:
        async with asyncio.timeout(_DISCARD_S):
            await exchange.incoming.discard(max_bytes=_DISCARD_BODIES * (exchange.max_body_bytes or 0))
    except TimeoutError:
        return
