"""The one pass over every request: its id, its span, its metrics and its line."""

from collections.abc import Mapping
from contextlib import suppress
from contextvars import copy_context
from time import perf_counter_ns
from typing import Any, Final

import structlog
from litestar import Litestar
from litestar.types import Receive, Scope, Send
from litestar.utils import normalize_path
from opentelemetry.context import Context
from opentelemetry.trace import set_span_in_context

from .._logs.access_line import access_fields
from .._metrics.http import http_metrics
from .._request import context_vars
from .._request.disconnect_watcher import Watch
from .._request.exchange import Exchange, HttpExchange, WebSocketExchange
from .._request.failure import Failure, failure_of
from .._request.labels import Key
from .._request.request import REQUEST_ID, Request, trace_headers
from .._request.request_record import SlowPathResult
from .._traces import request_span
from .._traces.context import NO_PARENT, SPAN, RequestContext
from .._traces.server_span import ServerSpan
from .batch import RequestBatcher
from .flush_timer import FlushTimer

_ID: Final = context_vars.ID_VAR
_OURS: Final = context_vars.OWN_COUNT
_NONE_BOUND: Final = context_vars.NO_FIELDS
_attach: Final = context_vars.attach
_detach: Final = context_vars.detach
_get: Final = dict.get
"""Without making what is not there."""

log = structlog.get_logger(__name__)
access_log = structlog.get_logger("starkeel_observability.access")


class TelemetryMiddleware:
    """Wraps the whole application, unmatched routes included.

    Args:
        app: The application, up to and including the edge; it knows its routes.
        slow_s: Seconds from which on a request is slow.
    """

    def __init__(self, app: Litestar, *, slow_s: float) -> None:
        self._slow_ns = round(slow_s * 1e9)
        self._wrapped = app.asgi_handler
        self._app = app
        self._metrics = http_metrics()
        self._reports = RequestBatcher(self._metrics, self._route_of)
        self._add = self._reports.add
        self.start(gathers=False)

    def start(self, *, gathers: bool) -> None:
        """Serve in another loop than before, if in any.

        Args:
            gathers: Whether there is somebody who will flush at the end; else each is told of at once.
        """
        self._watch = Watch()
        self._fresh: dict[Any, int] = self._watch.fresh
        if gathers:
            self._reports.enable_batching()
        else:
            self._reports.disable_batching()
        self._pulse = FlushTimer(self._beat)
        self._look_around()

    def flush(self) -> None:
        """Tell of all that is over."""
        self._reports.flush()
        self._metrics.set_in_flight(len(self._watch))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        # In one piece, as every call and every look-up in here is paid for by every request.
        exchange: Exchange
        context: Context
        kind: str = scope["type"]
        if kind == "http":
            exchange = HttpExchange(scope, receive, send)
            self._fresh[exchange] = exchange.began
        else:
            exchange = WebSocketExchange(scope, receive, send)
            self._watch.lasting.add(exchange)
        if not self._pulse.is_running:
            self._awaken()
        if self._makes_spans and self._telling.isdisjoint(exchange.headers):
            context = around = RequestContext()
            around.request = exchange
        else:
            context = self._begun(exchange)
        before = copy_context()
        id_token, trace_token = _ID.set(exchange.id), _attach(context)
        bound = _NONE_BOUND
        try:
            await self._wrapped(scope, exchange.receive, exchange.send)
        except BaseException as error:
            bound = await self._fail(scope, exchange, context, error)
            raise
        else:
            exchange.ended = perf_counter_ns()
            if len(copy_context()) != _OURS:
                bound = context_vars.bound_fields()
            span: Any = _get(context, SPAN)
            if (
                exchange.was_left is False
                and exchange.status < 500
                and self._fresh.pop(exchange, None) is not None
                and exchange.ended - exchange.began < self._slow_ns
                and (span is None or type(span) is ServerSpan)
            ):
                # As nearly all are.
                self._add(exchange, scope.get("path_template"), span, bound)
            else:
                self._tell(scope, exchange, context, None, bound)
        finally:
            _detach(trace_token)
            if bound is _NONE_BOUND:
                _ID.reset(id_token)
            else:
                context_vars.restore(id_token, before, bound)

    async def _fail(
        self, scope: Scope, exchange: Exchange, context: Context, error: BaseException
    ) -> Mapping[str, Any]:
        """Tell of a request that raised, and return what was bound for it."""
        if isinstance(error, Exception):
            with suppress(Exception):
                await exchange.apologize()
        bound = context_vars.bound_fields()
        self._tell(scope, exchange, context, error, bound)
        return bound

    def _begun(self, exchange: Exchange) -> Context:
        """What is current in a request that brings an id or a trace, or whose span is not ours to make."""
        exchange.take_id()
        brings_trace = exchange.brings(trace_headers())
        if exchange.is_health or (self._makes_spans and not brings_trace):
            context = RequestContext()
            context.request = exchange
            return context
        parent = exchange.parent() if brings_trace else NO_PARENT
        return set_span_in_context(request_span.start(exchange, parent), parent)

    def _look_around(self) -> None:
        """Note what applications may set at any time, and seldom do."""
        tracer = request_span.own_tracer()
        self._makes_spans = tracer is not None
        self._reports.require_span_objects(is_needed=tracer is not None and tracer.output.put_encoded is None)
        self._telling = trace_headers() | {REQUEST_ID}

    def _awaken(self) -> None:
        if not self._pulse.start():
            self._reports.disable_batching()

    def _beat(self) -> bool:
        self._look_around()
        self._watch.look()
        self.flush()
        return bool(self._fresh)

    def _tell(
        self,
        scope: Scope,
        exchange: Exchange,
        context: Context,
        error: BaseException | None,
        bound: Mapping[str, Any],
    ) -> None:
        exchange.ended = exchange.ended or perf_counter_ns()
        self._fresh.pop(exchange, None)
        self._watch.lasting.discard(exchange)
        if isinstance(exchange, HttpExchange):
            exchange.incoming.stop()
        try:
            span: Any = _get(context, SPAN)
            if span is None and not exchange.is_health:
                span = request_span.start(exchange, NO_PARENT)
            self._tell_more(scope, exchange, span, error, bound)
        except Exception:
            log.exception("request not reported")
        if not self._pulse.is_running:
            self._awaken()

    def _tell_more(
        self,
        scope: Scope,
        exchange: Exchange,
        span: Any,
        error: BaseException | None,
        bound: Mapping[str, Any],
    ) -> None:
        status = exchange.outcome(error)
        route: Any = scope.get("path_template")
        if route is None and status == 405:
            route = self._route_of(exchange)
        key = (exchange.method, route, status)
        failure = failure_of(scope, error, status)
        is_slow = exchange.duration_ns >= self._slow_ns and not exchange.is_stream
        is_usual = failure is None and not exchange.is_health and not is_slow
        if not is_usual:
            _log(exchange, key, failure, is_slow=is_slow)
        ids, is_sent = b"", False
        if span is not None:
            if exchange.is_stream:
                # How long it takes is up to the client.
                span.set_attribute("starkeel.is_stream", True)
            ids = request_span.end(span, exchange, key, failure)
            is_sent = span.get_span_context().trace_flags.sampled
        self._add(exchange, route, None, bound, SlowPathResult(status, ids, is_sent, is_usual))

    def _route_of(self, request: Request) -> str | None:
        """Template of a route that does not take the request's method; the router keeps that to itself."""
        path = normalize_path(request.path)
        with suppress(Exception):
            # Litestar answers OPTIONS on every route.
            template: str = self._app.asgi_router.handle_routing(path=path, method="OPTIONS")[-1]
            return template
        return None


def _log(request: Request, key: Key, failure: Failure | None, *, is_slow: bool) -> None:
    if failure is not None and failure.is_unexpected:
        log.error("request failed", error_type=failure.error_type, exc_info=failure.exception)
    fields = access_fields(key, request.path, request.duration_ns, request.sent_bytes, request.client)
    if failure is not None:
        fields["error_type"] = failure.error_type
    usual = access_log.warning if is_slow else access_log.info
    if failure is not None:
        usual = access_log.error
    (access_log.debug if request.is_health else usual)("request completed", **fields)
