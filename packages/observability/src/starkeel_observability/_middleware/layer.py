"""The telemetry layer: request id, span, metrics and access log line of every request."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Final

import structlog
from litestar import Litestar
from litestar.utils import normalize_path
from opentelemetry.context import Context
from opentelemetry.trace import set_span_in_context
from starkeel_asgi import REQUEST_ID, Exchange, HttpExchange, LayerOrder, Pipeline, WebSocketExchange

from .._compat import route_template
from .._logs.access_line import access_fields
from .._metrics.http import http_metrics
from .._request import context_vars
from .._request.failure import Failure, failure_of
from .._request.ids import request_ids
from .._request.labels import Key
from .._request.request import accept_request_id, is_health, method_label, parent_of, path_of, trace_headers
from .._request.request_record import SlowPathResult
from .._traces import request_span
from .._traces.context import NO_PARENT, SPAN, RequestContext
from .._traces.server_span import ServerSpan
from .batch import RequestBatcher
from .flush_timer import FlushTimer

_CLIENT_CLOSED_REQUEST: Final = 499
"""nginx's status for a request whose client did not wait for the response."""
_FORBIDDEN: Final = 403
_ID: Final = context_vars.ID_VAR
_OWN_COUNT: Final = context_vars.OWN_COUNT
_NO_FIELDS: Final = context_vars.NO_FIELDS
_attach: Final = context_vars.attach
_detach: Final = context_vars.detach
_get: Final = dict.get
"""Does not create a missing span."""

log = structlog.get_logger(__name__)
access_log = structlog.get_logger("starkeel_observability.access")


class TelemetryLayer:
    """Records every request, unmatched routes included.

    Args:
        app: The application, for its routes.
        pipeline: The pipeline around it.
        slow_s: Seconds from which a request is slow.
    """

    order: Final = LayerOrder.TELEMETRY

    def __init__(self, app: Litestar, pipeline: Pipeline, *, slow_s: float) -> None:
        self._slow_ns = round(slow_s * 1e9)
        self._app = app
        self._pipeline = pipeline
        self._metrics = http_metrics()
        self._batcher = RequestBatcher(self._metrics, self._route_of)
        self._add = self._batcher.add
        self.start(is_batching=False)

    def start(self, *, is_batching: bool) -> None:
        """Serve in another event loop than before.

        Args:
            is_batching: Whether `flush` is called in the end; otherwise each request is reported at once.
        """
        if is_batching:
            self._batcher.enable_batching()
        else:
            self._batcher.disable_batching()
        self._timer = FlushTimer(self._on_timer)
        self._read_globals()

    def flush(self) -> None:
        """Report all finished requests."""
        self._batcher.flush()
        self._metrics.set_in_flight(len(self._pipeline.recent) + len(self._pipeline.lasting))

    def begin(self, exchange: Exchange) -> None:
        """Set the request id and the trace context."""
        # In one piece, as each call in here costs every request.
        exchange.ids, exchange.id, exchange.id_bytes = request_ids()
        if not self._timer.is_running:
            self._start_timer()
        context: Context
        if self._makes_spans and self._relevant_headers.isdisjoint(exchange.headers):
            context = around = RequestContext()
            around.request = exchange
        else:
            context = self._context_of(exchange)
        before = copy_context()
        exchange.context = context, before, _ID.set(exchange.id), _attach(context)

    def end(self, exchange: HttpExchange | WebSocketExchange, error: BaseException | None) -> None:
        """Add the request to the batch, and restore the context variables."""
        context, before, id_token, trace_token = exchange.context
        bound = _NO_FIELDS if len(copy_context()) == _OWN_COUNT else context_vars.bound_fields()
        span: Any = _get(context, SPAN)
        if (
            exchange.is_complete
            and exchange.status < 500
            and not exchange.is_event_stream
            and not exchange.client_disconnected
            and error is None
            and exchange.ended_ns - exchange.received_ns < self._slow_ns
            and (span is None or type(span) is ServerSpan)
        ):
            route = exchange.route
            self._add(exchange, None if route is None else route.template, span, bound)
        else:
            self._report(exchange, span, error, bound)
        if not self._timer.is_running:
            self._start_timer()
        _detach(trace_token)
        if bound is _NO_FIELDS:
            _ID.reset(id_token)
        else:
            context_vars.restore(id_token, before, bound)
        exchange.context = None

    def _context_of(self, exchange: Exchange) -> Context:
        """Return the context of a request with an id or a trace, or whose span another provider creates."""
        accept_request_id(exchange)
        has_trace = not trace_headers().isdisjoint(exchange.headers)
        if is_health(exchange) or (self._makes_spans and not has_trace):
            context = RequestContext()
            context.request = exchange
            return context
        parent = parent_of(exchange) if has_trace else NO_PARENT
        return set_span_in_context(request_span.start(exchange, parent), parent)

    def _read_globals(self) -> None:
        """Read what applications may set at any time, and seldom do."""
        tracer = request_span.own_tracer()
        self._makes_spans = tracer is not None
        is_needed = tracer is not None and tracer.output.put_encoded is None
        self._batcher.require_span_objects(is_needed=is_needed)
        self._relevant_headers = trace_headers() | {REQUEST_ID}

    def _start_timer(self) -> None:
        if not self._timer.start():
            self._batcher.disable_batching()

    def _on_timer(self) -> bool:
        self._read_globals()
        self._pipeline.listen_for_disconnects()
        self.flush()
        return bool(self._pipeline.recent)

    def _report(
        self,
        exchange: HttpExchange | WebSocketExchange,
        span: Any,
        error: BaseException | None,
        bound: Mapping[str, Any],
    ) -> None:
        try:
            if span is None and not is_health(exchange):
                span = request_span.start(exchange, NO_PARENT)
            self._report_slowly(exchange, span, error, bound)
        except Exception:
            log.exception("request not reported")

    def _report_slowly(
        self,
        exchange: HttpExchange | WebSocketExchange,
        span: Any,
        error: BaseException | None,
        bound: Mapping[str, Any],
    ) -> None:
        status = _outcome(exchange, error)
        route = None if exchange.route is None else exchange.route.template
        if route is None and status == 405:
            route = self._route_of(exchange)
        key = (method_label(exchange), route, status)
        failure = failure_of(exchange, error, status)
        is_slow = exchange.ended_ns - exchange.received_ns >= self._slow_ns and not exchange.is_event_stream
        needs_line = failure is None and not is_health(exchange) and not is_slow
        if not needs_line:
            _log(exchange, key, failure, is_slow=is_slow)
        ids, is_sampled = b"", False
        if span is not None:
            if exchange.is_event_stream:
                # Its duration is the client's choice.
                span.set_attribute("starkeel.is_stream", True)
            ids = request_span.end(span, exchange, key, failure)
            is_sampled = span.get_span_context().trace_flags.sampled
        self._add(exchange, route, None, bound, SlowPathResult(status, ids, is_sampled, needs_line))

    def _route_of(self, exchange: Exchange) -> str | None:
        """Return the template of a route that does not have the request's method; the router hides it."""
        with suppress(Exception):
            return route_template(self._app, normalize_path(path_of(exchange)))
        return None


def _outcome(exchange: HttpExchange | WebSocketExchange, error: BaseException | None) -> int:
    """Return the status to report."""
    if not exchange.is_event_stream and exchange.client_disconnected:
        return _CLIENT_CLOSED_REQUEST
    if exchange.status:
        return exchange.status
    if isinstance(exchange, WebSocketExchange):
        return _FORBIDDEN if error is None else 500
    # Only a server that stops cancels an application whose client waits.
    return 503 if isinstance(error, asyncio.CancelledError) else 500


def _log(exchange: Exchange, key: Key, failure: Failure | None, *, is_slow: bool) -> None:
    if failure is not None and failure.is_unexpected:
        log.error("request failed", error_type=failure.error_type, exc_info=failure.exception)
    duration_ns = exchange.ended_ns - exchange.received_ns
    fields = access_fields(key, path_of(exchange), duration_ns, exchange.sent_bytes, exchange.client)
    if failure is not None:
        fields["error_type"] = failure.error_type
    usual = access_log.warning if is_slow else access_log.info
    if failure is not None:
        usual = access_log.error
    (access_log.debug if is_health(exchange) else usual)("request completed", **fields)
