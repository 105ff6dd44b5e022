"""The layer around the application that every request passes."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import structlog
from litestar import Litestar
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import ASGIApp, Receive, Scope, Send

from .._base.addresses import rate_limit_key
from .._base.headers import Header
from .._base.route_options import Policy
from .._client_address.proxies import TrustedProxies, parse_timeout
from .._compat import find_route
from .._errors.problem import MEDIA_TYPE, Problem, exception_name, problem_from_exception
from .._rate_limit.limiter import Limiter
from .cors import Cors
from .deadline import Deadlines
from .request_state import KEY, TOO_LARGE, DeadlinePassed, Exchange

log = structlog.get_logger(__name__)

POLICY: Final = "starkeel_http.policy"
"""Where in a handler's `opt` its policy stands."""

_WANTED: Final = frozenset({b"origin", b"content-length", b"x-request-timeout"})
_TIMED_OUT: Final = Problem(504, "The request took longer than it may.")
_STALLED: Final = Problem(408, "The request's body did not arrive in time.")
_CLOSE_TIMED_OUT: Final = 4504
_MAX_ROUTES: Final = 1024
_DRAIN_S: Final = 1.0
_DRAIN_BODIES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the edge goes by.

    Args:
        policy: What applies where a route says nothing.
        proxies: Who is believed about clients.
        cors: Whose pages may read.
        limiter: What counts.
    """

    policy: Policy
    proxies: TrustedProxies
    cors: Cors
    limiter: Limiter


class Edge:
    """Deadline, body limit, limits by address, CORS and headers, around everything that Litestar does.

    Args:
        app: The application, whose handler this wraps.
        rules: What it goes by.
    """

    def __init__(self, app: Litestar, rules: Rules) -> None:
        self._inner: ASGIApp = app.asgi_handler
        self._route = lru_cache(_MAX_ROUTES)(_routing(app))
        self._rules = rules
        self._proxies = rules.proxies or None
        self._cors = rules.cors or None
        self._deadlines = Deadlines()

    def open(self) -> None:
        """Get ready for another event loop."""
        self._deadlines = Deadlines()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        policy = self._policy(scope)
        wanted = {name: value for name, value in scope["headers"] if name in _WANTED}
        timeout_s = self._admit(scope, policy.timeout_s, wanted)
        state: Any = scope.setdefault("state", {})
        state["deadline"] = time.monotonic() + timeout_s
        deadlines = self._deadlines
        is_usual = timeout_s == policy.timeout_s
        deadline = deadlines.of_route(timeout_s) if is_usual else deadlines.of_request(timeout_s)
        exchange = Exchange(scope, receive, send, policy=policy, deadline=deadline)
        state[KEY] = exchange
        if self._cors is not None:
            exchange.cors = self._cors.headers(wanted.get(b"origin"))
        failure: BaseException | None = None
        try:
            await self._serve(exchange, wanted)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  (answered, or raised again)
            failure = error
        finally:
            deadline.lift()
        if deadline.is_over or failure is not None:
            await self._conclude(exchange, failure)
        # Each holds the other: left to the garbage collector, that costs more than all of the above.
        state.pop(KEY, None)

    async def _conclude(self, exchange: Exchange, failure: BaseException | None) -> None:
        if exchange.deadline.is_over:
            is_alone = exchange.deadline.is_alone()
            if isinstance(failure, asyncio.CancelledError) and not is_alone:
                raise failure
            # Also for an application that was cancelled and would not have it: the client is owed an answer.
            if not exchange.is_complete:
                await self._end(exchange)
        elif isinstance(failure, Exception):
            await self._fail(exchange, failure)
        elif failure is not None:
            raise failure

    async def _serve(self, exchange: Exchange, wanted: dict[bytes, bytes]) -> None:
        scope = exchange.scope
        if scope["type"] == ScopeType.HTTP:
            if b"origin" in wanted and scope["method"] == "OPTIONS" and self._is_preflight(scope, wanted):
                await self._preflight(exchange)
                return
            limit = exchange.policy.max_body_bytes
            if limit is not None and _length(wanted) > limit:
                await _refuse_body(exchange, limit)
                return
        for name in exchange.policy.by_address:
            await self._count(exchange, name)
        await self._inner(scope, exchange.receive, exchange.send)
        if exchange.is_too_large:
            await _linger(exchange)

    def _policy(self, scope: Scope) -> Policy:
        path = scope["path"]
        if root := scope.get("root_path", ""):
            path = path.split(root, maxsplit=1)[-1]
        try:
            policy, template = self._route(path, scope.get("method"))
        except HTTPException:
            # No such route, or method: the router says so itself.
            return self._rules.policy
        # As the router does later: what is refused here counts as its route's, too.
        scope["path_template"] = template
        return self._rules.policy if policy is None else policy

    def _admit(self, scope: Scope, timeout_s: float, wanted: dict[bytes, bytes]) -> float:
        """Believe what a trusted peer says, and return the seconds that the request has."""
        if self._proxies is None or not self._proxies.is_trusted_peer(scope):
            return timeout_s
        self._proxies.apply(scope)
        sent = wanted.get(b"x-request-timeout")
        left_s = parse_timeout(sent) if sent is not None else None
        return timeout_s if left_s is None else min(timeout_s, left_s)

    def _is_preflight(self, scope: Scope, wanted: dict[bytes, bytes]) -> bool:
        return self._rules.cors.allows(wanted[b"origin"]) and _header(scope, _METHOD) is not None

    async def _preflight(self, exchange: Exchange) -> None:
        requested = _header(exchange.scope, b"access-control-request-headers")
        await exchange.answer(204, self._rules.cors.preflight(requested), b"")

    async def _count(self, exchange: Exchange, name: str) -> None:
        client = exchange.scope.get("client")
        result = await self._rules.limiter.hit(name, rate_limit_key(client[0] if client else "unknown"))
        if result is None:
            return
        exchange.limited += (result,)
        if not result.is_within:
            raise result.exception()

    async def _end(self, exchange: Exchange) -> None:
        """Answer a request whose time is over."""
        scope = exchange.scope
        log.warning("request timed out", method=scope.get("method"), route=scope.get("path_template"))
        if scope["type"] == ScopeType.WEBSOCKET:
            if not exchange.is_started:
                await exchange.close(_CLOSE_TIMED_OUT, "Gateway Timeout")
            return
        if exchange.is_started:
            # What is half out cannot be completed truthfully. Raising is how a server learns to hang up.
            raise TimeoutError("the deadline passed while the response was on its way")
        if exchange.is_reading:
            await _send_problem(exchange, _STALLED)
            return
        _state(scope)["error_type"] = "TimeoutError"
        await _send_problem(exchange, _TIMED_OUT)

    async def _fail(self, exchange: Exchange, error: Exception) -> None:
        """Answer what was raised above Litestar's own handling, or after an answer had begun."""
        scope = exchange.scope
        if scope["type"] == ScopeType.WEBSOCKET:
            await self._fail_websocket(exchange, error)
            return
        if exchange.is_started:
            cause = error.__cause__ or error
            if exchange.client_has_gone or isinstance(error, DeadlinePassed):
                return
            _state(scope)["error_type"] = exception_name(cause)
            # The server logs the traceback of what is raised.
            log.error("response broken off", error_type=exception_name(cause))
            raise error
        await _send_problem(exchange, report(error, scope))

    async def _fail_websocket(self, exchange: Exchange, error: Exception) -> None:
        if exchange.is_started:
            raise error
        problem = report(error, exchange.scope)
        await exchange.close(4000 + problem.status, problem.detail)


def _routing(app: Litestar) -> Callable[[str, Any], tuple[Policy | None, str]]:
    find = find_route(app)

    def found(path: str, method: Any) -> tuple[Policy | None, str]:
        handler, template = find(path, method)
        return handler.opt.get(POLICY), template

    return found


def report(error: Exception, scope: Scope) -> Problem:
    """Say what a client may know of an exception, and tell ourselves the rest.

    Args:
        error: What was raised.
        scope: The request's.
    """
    problem = problem_from_exception(error, scope)
    if problem.status < 500:
        return problem
    state = _state(scope)
    state["error_type"] = exception_name(error)
    exchange = state.get(KEY)
    if problem.status != 500 or isinstance(error, DeadlinePassed):
        return problem
    if isinstance(exchange, Exchange) and exchange.client_has_gone:
        log.info("client went away", error_type=state["error_type"])
    else:
        log.error("request failed", error_type=state["error_type"], exc_info=error)
    return problem


async def _refuse_body(exchange: Exchange, limit: int) -> None:
    await _send_problem(exchange, Problem(413, TOO_LARGE.format(limit)))
    await _linger(exchange)


async def _linger(exchange: Exchange) -> None:
    """Take for a while what the client still sends: who is hung up on while sending may lose the answer."""
    most_bytes = _DRAIN_BODIES * (exchange.policy.max_body_bytes or 0)
    try:
        async with asyncio.timeout(_DRAIN_S):
            await exchange.drain(most_bytes=most_bytes)
    except TimeoutError:
        return


async def _send_problem(exchange: Exchange, problem: Problem) -> None:
    body = problem.body(exchange.path)
    headers: list[Header] = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
    ]
    headers += [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in problem.headers.items()
    ]
    is_head = exchange.scope.get("method") == "HEAD"
    await exchange.answer(problem.status, headers, b"" if is_head else body)


def _length(wanted: dict[bytes, bytes]) -> int:
    text = wanted.get(b"content-length", b"0")
    # Enough digits to be too large, and not so many that Python refuses them.
    return int(text[:18]) if text.isdigit() else 0


_METHOD: Final = b"access-control-request-method"


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)


def _state(scope: Scope) -> dict[str, Any]:
    state: dict[str, Any] = scope["state"]
    return state
