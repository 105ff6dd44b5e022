"""Rules of HTTP that every request must follow before an application handles it."""

from typing import Final

from litestar.exceptions import (
    ClientException,
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
)

from ._compat import Router
from ._exchange.http import HttpExchange
from ._exchange.websocket import WebSocketExchange
from ._target import raw_path_of, why_ambiguous

RARE_HEADERS: Final = frozenset({b"content-encoding", b"expect", b"transfer-encoding"})
"""Headers of requests that `admit` must check even if their route and host are known."""
ANY_HOST: Final = "starkeel_asgi.any_host"
"""Key in a route's `opt`: it responds to every host, as probes have the address of a container."""
_METHODS: Final = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
"""Methods that are not allowed where a path does not have them; all others are not implemented."""


async def admit(exchange: HttpExchange | WebSocketExchange, router: Router) -> bool:
    """Return whether the application may handle a request; `False` if it was responded to.

    Raises:
        HTTPException: The request is refused: 400, 404, 405, 415, 417, 421, 426 or 501.
    """
    scope = exchange.scope
    router.handle_exceptions(scope)
    host, is_required = exchange.headers.get(b"host"), scope.get("http_version") == "1.1"
    if not router.is_host_valid(host, is_required=is_required):
        # RFC 9112, 3.2.
        raise ClientException("Invalid host header")
    if _is_host_allowed(exchange, host):
        router.add_host(host)
    elif exchange.route is None or ANY_HOST not in exchange.route.handler.opt:
        # RFC 9110, 7.4.
        raise HTTPException("The service does not serve this host.", status_code=421)
    if isinstance(exchange, WebSocketExchange):
        if exchange.route is None:
            _check_path(exchange)
        return True
    _check_coding(exchange)
    if exchange.route is not None:
        return True
    if exchange.method == "OPTIONS" and scope["path"] == "*":
        # About the server itself (RFC 9110, 9.3.7).
        await exchange.respond(204, [(b"allow", ", ".join(sorted(_METHODS)).encode())], b"")
        return False
    error = _unrouted(exchange, router)
    if error is not None:
        raise error
    return True


def _is_host_allowed(exchange: HttpExchange | WebSocketExchange, host: bytes | None) -> bool:
    is_allowed = exchange.config.is_host_allowed
    # A mounted application serves the hosts of the application around it.
    return is_allowed is None or exchange.outer is not None or is_allowed(host, exchange.facts[4])


def _check_coding(exchange: HttpExchange) -> None:
    headers = exchange.headers
    coding = headers.get(b"transfer-encoding", b"chunked")
    if coding.strip().lower() != b"chunked":
        # RFC 9112, 6.1. The end of the body may be somewhere else for other programs.
        exchange.must_close = True
        raise HTTPException("The only supported transfer coding is `chunked`.", status_code=501)
    if headers.get(b"content-encoding", b"identity").strip().lower() not in {b"identity", b""}:
        # RFC 9110, 15.5.16.
        raise HTTPException(
            "Compressed bodies are not supported: send the body without `Content-Encoding`.",
            status_code=415,
            headers={"Accept-Encoding": "identity"},
        )
    if headers.get(b"expect", b"100-continue").strip().lower() != b"100-continue":
        # RFC 9110, 10.1.1.
        raise HTTPException("The only supported expectation is `100-continue`.", status_code=417)


def _check_path(exchange: HttpExchange | WebSocketExchange) -> None:
    reason = why_ambiguous(raw_path_of(exchange.scope))
    if reason is not None:
        raise ClientException(reason)


def _unrouted(exchange: HttpExchange, router: Router) -> HTTPException | None:
    """Return the error for a request without a route; `None` if something inside may have one."""
    if router.decides and exchange.method not in _METHODS:
        # RFC 9110, 9.1; TRACE and CONNECT are not implemented either.
        return HTTPException("The method is not implemented.", status_code=501)
    _check_path(exchange)
    if not router.decides:
        return None
    methods = router.allowed_methods(exchange.scope)
    if methods is None:
        return NotFoundException()
    if not methods:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
        return HTTPException("The path is that of a WebSocket.", status_code=426, headers=headers)
    return MethodNotAllowedException(headers={"Allow": ", ".join(sorted(methods))})
