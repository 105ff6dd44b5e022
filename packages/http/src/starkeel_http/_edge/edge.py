"""The edge layer: deadline, body limit, rate limits by address, CORS, headers and error responses."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Final

import structlog
from litestar.types import Scope
from starkeel_asgi import (
    TOO_LARGE,
    DeadlineExceeded,
    DeadlineQueue,
    DeadlineQueues,
    Exchange,
    Header,
    HttpExchange,
    LayerOrder,
    WebSocketExchange,
    current,
)

from .._base.addresses import rate_limit_key
from .._base.route_options import Policy
from .._client_address.proxies import parse_timeout
from .._errors.problem import MEDIA_TYPE, Problem, exception_name, problem_from_exception
from .._rate_limit.limiter import Limiter, add_rate_limit_headers
from .cors import Cors

log = structlog.get_logger(__name__)

POLICY: Final = "starkeel_http.policy"
"""Key of a route's policy in its handler's `opt`."""

_TIMED_OUT: Final = Problem(504, "The request took longer than it may.")
_STALLED: Final = Problem(408, "The request's body did not arrive in time.")
_CLOSE_TIMED_OUT: Final = 4504
_CLOSE_FAILED: Final = 4500
_MAX_CLOSE_REASON: Final = 123
"""Bytes that a close frame has for its reason (RFC 6455, 5.5)."""
_DISCARD_S: Final = 1.0
_DISCARD_BODIES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Policy, origins and counters that the edge applies.

    Args:
        policy: The policy of requests whose route has none.
        cors: The origins that may read responses.
        limiter: Counts requests.
    """

    policy: Policy
    cors: Cors
    limiter: Limiter


class Edge:
    """Applies the policy of its route to each request.

    Args:
        rules: Policy, origins and counters.
    """

    order: Final = LayerOrder.EDGE
    applies_when_mounted: Final = True

    def __init__(self, rules: Rules) -> None:
        self._policy = rules.policy
        self._limiter = rules.limiter
        self._cors = rules.cors or None
        self._deadlines = DeadlineQueues()

    def open(self) -> None:
        """Prepare for another event loop."""
        self._deadlines = DeadlineQueues()

    def begin(self, exchange: Any) -> None:
        """Start the deadline, and decide whether the application runs at once."""
        route = exchange.route
        policy = self._policy if route is None else route.handler.opt.get(POLICY) or self._policy
        exchange.policy = policy
        timeout_s = policy.timeout_s
        queue = self._deadlines.shared(timeout_s)
        if exchange.is_peer_trusted and (header := exchange.headers.get(b"x-request-timeout")) is not None:
            left_s = parse_timeout(header)
            if left_s is not None and left_s < timeout_s:
                timeout_s, queue = left_s, DeadlineQueue(left_s)
        exchange.set_deadline(queue, time.monotonic() + timeout_s)
        headers = exchange.headers
        if self._cors is not None:
            exchange.added_headers = self._cors.headers(headers.get(b"origin"))
        if type(exchange) is HttpExchange:
            limit = exchange.max_body_bytes = policy.max_body_bytes
            if (limit is not None and b"content-length" in headers and _content_length(exchange) > limit) or (
                b"origin" in headers and exchange.facts[0] == "OPTIONS"
            ):
                exchange.intercept = self._intercept
        if policy.by_address:
            exchange.intercept = self._intercept

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
        if isinstance(exchange, HttpExchange):
            if exchange.is_body_too_large and error is None:
                await _discard(exchange)
            return _broken_off(exchange, error) if exchange.is_started else error
        if isinstance(error, Exception) and not exchange.is_started:
            problem = report(error, exchange.scope)
            await exchange.close(4000 + problem.status, problem.detail)
            return None
        return error

    async def _intercept(self, exchange: HttpExchange | WebSocketExchange) -> bool:
        policy: Policy = exchange.policy
        if isinstance(exchange, HttpExchange):
            if exchange.method == "OPTIONS" and self._is_preflight(exchange):
                await self._respond_to_preflight(exchange)
                return False
            limit = policy.max_body_bytes
            if limit is not None and _content_length(exchange) > limit:
                await _respond(exchange, Problem(413, TOO_LARGE.format(limit)))
                await _discard(exchange)
                return False
        for name in policy.by_address:
            await self._count(exchange, name)
        return True

    def _is_preflight(self, exchange: Exchange) -> bool:
        origin = exchange.headers.get(b"origin")
        return (
            origin is not None
            and self._cors is not None
            and self._cors.allows(origin)
            and b"access-control-request-method" in exchange.headers
        )

    async def _respond_to_preflight(self, exchange: HttpExchange) -> None:
        assert self._cors is not None
        requested = exchange.headers.get(b"access-control-request-headers")
        await exchange.respond(204, self._cors.preflight(requested), b"")

    async def _count(self, exchange: Exchange, name: str) -> None:
        result = await self._limiter.hit(name, rate_limit_key(exchange.client or "unknown"))
        if result is None:
            return
        add_rate_limit_headers(exchange, result)
        if not result.is_within:
            raise result.exception()

    async def _time_out(self, exchange: HttpExchange | WebSocketExchange) -> Exception | None:
        scope = exchange.scope
        route = None if exchange.route is None else exchange.route.template
        log.warning("request timed out", method=scope.get("method"), route=route)
        if isinstance(exchange, WebSocketExchange):
            await exchange.close(_CLOSE_TIMED_OUT, "Gateway Timeout")
            return None
        if exchange.is_started:
            # A partially sent response cannot be corrected; raise so that the server closes the connection.
            return TimeoutError("the deadline passed while the response was being sent")
        if exchange.is_reading_body:
            await _respond(exchange, _STALLED)
            return None
        scope["state"]["error_type"] = "TimeoutError"
        await _respond(exchange, _TIMED_OUT)
        return None


def close_message(message: dict[str, Any]) -> Any:
    """Return a WebSocket's close message without details of an internal error."""
    reason = str(message.get("reason") or "")
    if message.get("code") == _CLOSE_FAILED:
        reason = "Internal Server Error"
    return {**message, "reason": reason.encode()[:_MAX_CLOSE_REASON].decode(errors="ignore")}


def error_response(exchange: Exchange, error: Exception) -> tuple[int, list[Header], bytes]:
    """Return the response to an exception, and log it if it is unexpected."""
    return _rendered(report(error, exchange.scope), exchange)


def report(error: Exception, scope: Scope) -> Problem:
    """Return the problem that a client may see of an exception; log the exception if it is unexpected.

    Args:
        error: The exception.
        scope: The request's.
    """
    problem = problem_from_exception(error, scope)
    if problem.status < 500:
        return problem
    error_type = scope["state"]["error_type"] = exception_name(error)
    if problem.status != 500 or isinstance(error, DeadlineExceeded):
        return problem
    exchange = current(scope)
    if isinstance(exchange, HttpExchange) and exchange.client_disconnected:
        log.info("client disconnected", error_type=error_type)
    else:
        log.error("request failed", error_type=error_type, exc_info=error)
    return problem


def _broken_off(exchange: HttpExchange, error: BaseException | None) -> BaseException | None:
    if not isinstance(error, Exception) or isinstance(error, DeadlineExceeded):
        return None if isinstance(error, DeadlineExceeded) else error
    if exchange.client_disconnected:
        return None
    name = exception_name(error.__cause__ or error)
    exchange.scope["state"]["error_type"] = name
    # The server logs the traceback of what is raised.
    log.error("response broken off", error_type=name)
    return error


async def _respond(exchange: HttpExchange, problem: Problem) -> None:
    await exchange.respond(*_rendered(problem, exchange))


def _rendered(problem: Problem, exchange: Exchange) -> tuple[int, list[Header], bytes]:
    body = problem.body(exchange.path)
    headers: list[Header] = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    headers += [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in problem.headers.items()
    ]
    return problem.status, headers, b"" if exchange.method == "HEAD" else body


async def _discard(exchange: HttpExchange) -> None:
    """Read the rest of a body for a while: a client that is cut off while sending may lose the response."""
    try:
        async with asyncio.timeout(_DISCARD_S):
            await exchange.incoming.discard(max_bytes=_DISCARD_BODIES * (exchange.policy.max_body_bytes or 0))
    except TimeoutError:
        return


def _content_length(exchange: Exchange) -> int:
    text = exchange.headers.get(b"content-length", b"0")
    # Enough digits to be too large, and not so many that Python refuses them.
    return int(text[:18]) if text.isdigit() else 0
