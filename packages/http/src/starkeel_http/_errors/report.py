"""Responses to exceptions, and what is logged of them."""

import logging
import traceback
from typing import Any, Final

import structlog
from litestar import Request, Response
from litestar.enums import ScopeType
from litestar.exceptions import WebSocketException
from litestar.types import Scope
from starkeel_asgi import DeadlineExceeded, Exchange, Header, HttpExchange, current

from .problem import MEDIA_TYPE, Problem, exception_name, problem_from_exception, validation_failure

log = structlog.get_logger(__name__)

_CLOSE_FAILED: Final = 4500
_MAX_CLOSE_REASON: Final = 123
"""Bytes that a close frame has for its reason (RFC 6455, 5.5)."""


def report(error: Exception, scope: Scope) -> Problem:
    """Return the problem that a client may see of an exception; log the exception if it is unexpected."""
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
        _log_failure(error, error_type)
    return problem


def _log_failure(error: BaseException, error_type: str) -> None:
    if reason := validation_failure(error):
        # The exception's text repeats the value that was validated.
        stack = "".join(traceback.format_tb(error.__traceback__)).rstrip("\n")
        log.error("request failed", error_type=error_type, reason=reason, stack=stack)
    elif structlog.is_configured():
        log.error("request failed", error_type=error_type, exc_info=error)
    else:
        # The default configuration of structlog shows local variables, such as the body of the request.
        logging.getLogger(__name__).error("request failed: %s", error_type, exc_info=error)


def broken_off(exchange: HttpExchange, error: BaseException) -> BaseException | None:
    """Return what the server must know of an exception that was raised after the response had started."""
    if isinstance(error, DeadlineExceeded):
        return None
    if not isinstance(error, Exception):
        return error
    if exchange.client_disconnected:
        return None
    name = exception_name(error.__cause__ or error)
    exchange.scope["state"]["error_type"] = name
    # The server logs the traceback of what is raised.
    log.error("response broken off", error_type=name)
    return error


def render(problem: Problem, exchange: Exchange) -> tuple[int, list[Header], bytes]:
    """Return status, headers and body of a problem."""
    body = problem.body(exchange.path, exchange.config.problem_types_url)
    headers = {"content-type": MEDIA_TYPE, "content-length": str(len(body)), **problem.headers}
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    return problem.status, encoded, b"" if exchange.method == "HEAD" else body


def error_response(exchange: Exchange, error: Exception) -> tuple[int, list[Header], bytes]:
    """Return the response to an exception that is raised outside of Litestar's handling."""
    return render(report(error, exchange.scope), exchange)


def problem_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Return the response to an exception; a Litestar exception handler."""
    problem = report(error, request.scope)
    exchange = current(request.scope)
    if exchange is None:
        body = problem.body(request.scope["path"])
    else:
        body = problem.body(exchange.path, exchange.config.problem_types_url)
    return Response(body, status_code=problem.status, media_type=MEDIA_TYPE, headers=problem.headers)


def report_websocket(error: Exception, scope: Scope) -> None:
    """Report an exception of a WebSocket, which Litestar does not pass to exception handlers."""
    if scope["type"] == ScopeType.WEBSOCKET and not isinstance(error, WebSocketException):
        report(error, scope)


def close_message(message: dict[str, Any]) -> Any:
    """Return a WebSocket's close message without details of an internal error."""
    reason = str(message.get("reason") or "")
    if message.get("code") == _CLOSE_FAILED:
        reason = "Internal Server Error"
    return {**message, "reason": reason.encode()[:_MAX_CLOSE_REASON].decode(errors="ignore")}
