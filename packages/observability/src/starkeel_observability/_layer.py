"""The one pass over every request: its id, its span, its metrics and its line."""

from collections.abc import Mapping
from contextlib import suppress
from contextvars import copy_context
from time import perf_counter
from typing import Any, Final

import structlog
from litestar import Litestar
from litestar.types import ASGIApp, Receive, Scope, Send
from litestar.utils import normalize_path
from opentelemetry.context import Context
from opentelemetry.trace import Span
from structlog.contextvars import get_contextvars

from . import _ambient
from ._exchange import Exchange, HttpExchange, WebSocketExchange
from ._failure import Failure, failure_of
from ._incoming import Watch
from ._metrics._http import Key, http_metrics
from ._reports import Reports, told
from ._request import Request
from ._traces import _span
from ._traces._server import ServerSpan

_ID: Final = _ambient.ID
_SPAN: Final = _ambient.SPAN
_OURS: Final = _ambient.OURS
_attach: Final = _ambient.attach
_detach: Final = _ambient.detach

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
        self.reports = Reports(self._metrics)
        """What is to be told yet."""
        self._in_flight, self._opened = self._metrics.in_flight
        self.start()

    def start(self) -> None:
        """Serve in another loop than before, if in any."""
        self._watch = Watch()
        self._open: dict[Any, float] = self._watch.open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        # In one piece, as every call and every look-up in here is paid for by every request.
        request = Request(scope)
        exchange = self._exchange(scope, request, receive, send)
        parent = request.parent()
        span = None if request.is_health else _span.start(request, parent)
        if span is not None:
            parent = _ambient.around(parent, span) if parent else Context({_SPAN: span})
        variables = len(copy_context())
        before = get_contextvars() if variables else _ambient.NOTHING
        id_token, trace_token = _ID.set(request.id), _attach(parent)
        self._in_flight[self._opened] += 1.0
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
            request.ended = perf_counter()
            self._in_flight[self._opened] -= 1.0
            is_alone = not variables and len(copy_context()) == _OURS
            bound = _ambient.NOTHING if is_alone else _ambient.bound()
            self._tell(scope, request, exchange, span, error, bound)
            _detach(trace_token)
            if before or bound:
                _ambient.restore(before)
            else:
                _ID.reset(id_token)

    def _exchange(self, scope: Scope, request: Request, receive: Receive, send: Send) -> Exchange:
        kind: str = scope["type"]
        if kind != "http":
            return WebSocketExchange(receive, send, request.id)
        exchange = HttpExchange(receive, send, request.id)
        watch = self._watch
        self._open[exchange] = request.began
        if not watch.is_set:
            watch.start()
        return exchange

    def _tell(
        self,
        scope: Scope,
        request: Request,
        exchange: Exchange,
        span: Span | None,
        error: BaseException | None,
        bound: Mapping[str, Any],
    ) -> None:
        self._open.pop(exchange, None)
        if exchange.reading is not None:
            exchange.reading.cancel()
        status = exchange.status
        route: str | None = scope.get("path_template")
        if (
            error is None
            and exchange.was_left is False
            and status is not None
            and status < 500
            and status != 405
            and not exchange.is_stream
            and type(span) is ServerSpan
            and not span.is_touched
            and request.ended - request.began < self._slow_s
        ):
            # As nearly all are.
            self.reports.add((request, route, status, b"", span, True, bound, exchange.sent_bytes))
            return
        try:
            self._tell_more(scope, request, exchange, span, error, bound)
        except Exception:
            log.exception("request not reported")

    def _tell_more(
        self,
        scope: Scope,
        request: Request,
        exchange: Exchange,
        span: Span | None,
        error: BaseException | None,
        bound: Mapping[str, Any],
    ) -> None:
        status = exchange.outcome(error)
        route: Any = scope.get("path_template")
        if route is None and status == 405:
            route = self._route_of(request)
        key = (request.method, route, status)
        failure = failure_of(scope, error, status)
        is_slow = request.duration_s >= self._slow_s and not exchange.is_stream
        is_usual = failure is None and not request.is_health and not is_slow
        if not is_usual:
            _log(request, exchange, key, failure, is_slow=is_slow)
        ids, is_sent = b"", False
        if span is not None:
            if exchange.is_stream:
                # How long it takes is up to the client.
                span.set_attribute("starkeel.is_stream", True)
            ids = _span.end(span, request, key, failure)
            is_sent = span.get_span_context().trace_flags.sampled
        sent_bytes = exchange.sent_bytes if is_usual else None
        self.reports.add((request, route, status, ids, None, is_sent, bound, sent_bytes))

    def _route_of(self, request: Request) -> str | None:
        """Template of a route that does not take the request's method; the router keeps that to itself."""
        path = normalize_path(request.path)
        with suppress(Exception):
            # Litestar answers OPTIONS on every route.
            template: str = self._app.asgi_router.handle_routing(path=path, method="OPTIONS")[-1]
            return template
        return None


def _log(request: Request, exchange: Exchange, key: Key, failure: Failure | None, *, is_slow: bool) -> None:
    if failure is not None and failure.is_unexpected:
        log.error("request failed", error_type=failure.error_type, exc_info=failure.exception)
    fields = told(request, key, exchange.sent_bytes)
    if failure is not None:
        fields["error_type"] = failure.error_type
    usual = access_log.warning if is_slow else access_log.info
    if failure is not None:
        usual = access_log.error
    (access_log.debug if request.is_health else usual)("request completed", **fields)
