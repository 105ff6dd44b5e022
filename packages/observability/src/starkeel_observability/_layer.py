"""The one pass over every request: its id, its span, its metrics and its line."""

from contextlib import suppress
from time import perf_counter
from typing import Any, Final

import structlog
from litestar import Litestar
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, LitestarException, WebSocketException
from litestar.types import ASGIApp, Receive, Scope, Send
from litestar.utils import normalize_path
from opentelemetry import context
from opentelemetry.trace import Span, set_span_in_context
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars, reset_contextvars

from ._exchange import Exchange, HttpExchange, WebSocketExchange
from ._logs import _access
from ._metrics._http import http_metrics
from ._request import Request
from ._traces import _span

EXCEPTION_KEY: Final = "starkeel_exception"
"""Where in the scope's state the exception stands that was answered."""

log = structlog.get_logger(__name__)
access_log = structlog.get_logger("starkeel_observability.access")


class Layer:
    """Wraps the whole application, unmatched routes included.

    Args:
        wrapped: The application, up to and including the edge.
        app: The application itself, which knows its routes.
        slow_s: Seconds from which on a request is slow.
    """

    def __init__(self, wrapped: ASGIApp, app: Litestar, *, slow_s: float) -> None:
        self._slow_s = slow_s
        self._wrapped = wrapped
        self._app = app
        self._metrics = http_metrics()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        began = perf_counter()
        request = Request(scope)
        exchange: Exchange = (HttpExchange if scope["type"] == ScopeType.HTTP else WebSocketExchange)(
            receive, send, request.id
        )
        before = get_contextvars()
        bound = bind_contextvars(request_id=request.id)
        parent = request.parent()
        span = None if request.is_health else _span.start(request, parent)
        token = context.attach(parent if span is None else set_span_in_context(span, parent))
        self._metrics.began()
        error: BaseException | None = None
        try:
            await self._wrapped(scope, exchange.receive, exchange.send)
        except BaseException as caught:
            error = caught
            if isinstance(error, Exception):
                with suppress(Exception):
                    await exchange.apologize()
            raise
        finally:
            self._metrics.ended()
            exchange.close()
            now = get_contextvars()
            self._tell(
                request, exchange, span, error, has_more=len(now) > 1, duration_s=perf_counter() - began
            )
            context.detach(token)
            # Whatever was bound for this request, by whomever, ends with it.
            if before or len(now) > 1:
                clear_contextvars()
                bind_contextvars(**before)
            else:
                reset_contextvars(**bound)

    def _tell(
        self,
        request: Request,
        exchange: Exchange,
        span: Span | None,
        error: BaseException | None,
        *,
        has_more: bool,
        duration_s: float,
    ) -> None:
        try:
            status = exchange.outcome(error)
            route = request.route or (self._route_of(request) if status == 405 else None)
            self._metrics.observe((request.method, route, status), duration_s)
            failure = _Failure(request.scope, error, status)
            is_slow = duration_s >= self._slow_s and not exchange.is_stream
            _log(
                request,
                exchange,
                route,
                status,
                failure,
                span,
                has_more=has_more,
                duration_s=duration_s,
                is_slow=is_slow,
            )
            if span is not None:
                if exchange.is_stream:
                    # How long it takes is up to the client.
                    span.set_attribute("starkeel.is_stream", True)
                _span.end(
                    span,
                    request,
                    route=route,
                    status=status,
                    error_type=failure.error_type,
                    error=failure.exception,
                )
        except Exception:
            log.exception("request not reported")

    def _route_of(self, request: Request) -> str | None:
        """Template of a route that does not take the request's method; the router keeps that to itself."""
        path = normalize_path(request.path)
        with suppress(Exception):
            # Litestar answers OPTIONS on every route.
            template: str = self._app.asgi_router.handle_routing(path=path, method="OPTIONS")[-1]
            return template
        return None


class _Failure:
    """What went wrong in a request, if anything did and it was the service's fault.

    Args:
        scope: Of the request.
        raised: What the application raised.
        status: Of the answer.
    """

    def __init__(self, scope: Scope, raised: BaseException | None, status: int) -> None:
        state: dict[str, Any] = scope.get("state") or {}
        exception = _innermost(raised or state.get(EXCEPTION_KEY))
        # One that is cancelled has failed when its answer was half out.
        is_failure = (
            status >= 500
            or isinstance(raised, Exception)
            or (raised is not None and 200 <= status < 300)
            or (status == 101 and _is_unexpected(exception))
        )
        self.exception: BaseException | None = exception if is_failure else None
        known = state.get("error_type")
        self.is_logged = isinstance(known, str)
        self.error_type: str | None = None
        if is_failure:
            self.error_type = known if self.is_logged else _type_name(self.exception) or str(status)

    @property
    def is_unexpected(self) -> bool:
        """Whether it is worth a stack trace that nobody has logged."""
        return not self.is_logged and _is_unexpected(self.exception)


def _innermost(exception: BaseException | None) -> BaseException | None:
    """The exception itself, out of what Litestar and task groups wrap around it."""
    if type(exception) is LitestarException and exception.__cause__ is not None:
        return _innermost(exception.__cause__)
    if isinstance(exception, BaseExceptionGroup) and len(exception.exceptions) == 1:
        return _innermost(exception.exceptions[0])
    return exception


def _is_unexpected(exception: BaseException | None) -> bool:
    return isinstance(exception, Exception) and not isinstance(exception, (HTTPException, WebSocketException))


def _type_name(exception: BaseException | None) -> str | None:
    if exception is None:
        return None
    kind = type(exception)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _log(
    request: Request,
    exchange: Exchange,
    route: str | None,
    status: int,
    failure: _Failure,
    span: Span | None,
    *,
    has_more: bool,
    duration_s: float,
    is_slow: bool,
) -> None:
    if failure.is_unexpected:
        log.error("request failed", error_type=failure.error_type, exc_info=failure.exception)
    is_plain = failure.error_type is None and not request.is_health and not has_more and not is_slow
    # What was bound for the request beside its id is told, too: the long way.
    if is_plain and _access.is_possible():
        _access.write(
            request.method,
            request.path,
            route,
            status,
            duration_s=duration_s,
            size=exchange.sent_bytes,
            client=request.client,
            request_id=request.id,
            span=span,
        )
        return
    fields: dict[str, Any] = {"method": request.method, "path": request.path, "status": status}
    if route is not None:
        fields["route"] = route
    fields["duration_ms"] = round(duration_s * 1000, 3)
    fields["bytes"] = exchange.sent_bytes
    if request.client is not None:
        fields["client"] = request.client
    if failure.error_type is not None:
        fields["error_type"] = failure.error_type
    usual = access_log.warning if is_slow else access_log.info
    if failure.error_type is not None:
        usual = access_log.error
    (access_log.debug if request.is_health else usual)("request completed", **fields)
