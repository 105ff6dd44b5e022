"""The telemetry layer: request id, span, metrics and access log line of every request."""

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from contextvars import Context as ContextVars
from contextvars import Token, copy_context
from typing import Any, Final

import structlog
from litestar import Litestar
from litestar.utils import normalize_path
from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.trace import ProxyTracer, set_span_in_context
from starkeel_asgi import REQUEST_ID, Exchange, HttpExchange, LayerOrder, Pipeline, WebSocketExchange
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from .._compat import (
    REQUEST_ID_VARIABLE,
    SPAN_KEY,
    TRACE_VARIABLE,
    attach,
    detach,
    has_default_propagators,
    route_template,
)
from .._metrics.http import http_metrics
from .._request import request
from .._request.request import RequestExtras, RequestTemplate, SlowPathResult, is_health
from .._traces.server_span import ServerSpan
from .._traces.tracer import (
    NO_PARENT,
    RequestContext,
    Tracer,
    request_tracer,
    span_context_in,
    start_request_span,
)
from .batch import RequestBatcher
from .slow_path import outcome, report_slowly

_REFUSED: Final = frozenset({405, 426, 501})
"""Statuses of requests whose path has a route, but not with their method."""
_FLUSH_INTERVAL_S: Final = 0.04
"""Maximum delay of a request's report."""
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
_NO_FIELDS: Final[Mapping[str, Any]] = {}
_OWN_COUNT: Final = 1 if TRACE_VARIABLE is None else 2
"""Number of context variables that a request sets by itself."""
_id: Final = REQUEST_ID_VARIABLE
_take_ids: Final = request.id_stock.pop
_get: Final = dict.get
"""Does not create a missing span."""

log = structlog.get_logger(__name__)


class TelemetryLayer:
    """Records every request, unmatched routes included; one of `slow_s` seconds or more is slow."""

    order: Final = LayerOrder.TELEMETRY

    def __init__(self, app: Litestar, pipeline: Pipeline, *, slow_s: float) -> None:
        self._slow_ns = round(slow_s * 1e9)
        self._app = app
        self._pipeline = pipeline
        self._metrics = http_metrics()
        self._batcher = RequestBatcher(self._metrics)
        self._templates, self._clients = self._batcher.templates, self._batcher.clients
        self.start(is_batching=False)

    def start(self, *, is_batching: bool) -> None:
        """Serve in another event loop than before; without batching, each request is reported at once."""
        self._set_batching(is_enabled=is_batching)
        self._is_timer_running = False
        self._read_globals()

    def flush(self) -> None:
        """Report all finished requests."""
        self._batcher.flush()
        self._metrics.set_in_flight(self._pipeline.open_count)

    def begin(self, exchange: Exchange) -> None:
        """Set the request id and the trace context."""
        # In one piece, as each call in here costs every request.
        try:
            exchange.ids, exchange.id, exchange.id_bytes = _take_ids()
        except IndexError:
            exchange.ids, exchange.id, exchange.id_bytes = request.request_ids()
        if not self._is_timer_running:
            self._start_timer()
        context: Context
        if self._is_foreign or not self._relevant_headers.isdisjoint(exchange.headers):
            context = self._context_of(exchange)
        elif self._makes_spans:
            context = around = RequestContext()
            around.request = exchange
        else:
            context, exchange.ids = NO_PARENT, b""
        exchange.context = context, copy_context(), _id.set(exchange.id), attach(context)

    def end(self, exchange: HttpExchange | WebSocketExchange, error: BaseException | None) -> None:
        """Add the request to the batch, and restore the context variables."""
        context, before, id_token, trace_token = exchange.context
        bound = _NO_FIELDS if len(copy_context()) == _OWN_COUNT else _bound_fields()
        span: Any = _get(context, SPAN_KEY)
        try:
            extras = result = None
            status, matched = exchange.status, exchange.route
            route = None if matched is None else matched.template
            if not (
                error is None
                and status < 500
                and exchange.is_complete
                and not exchange.is_event_stream
                and not exchange.is_abandoned  # type: ignore[union-attr]  # a WebSocket is an event stream
                and exchange.ended_ns - exchange.received_ns < self._slow_ns
                and (span is None or type(span) is ServerSpan)
            ):
                result = self._report(exchange, error, span, route)
                status = result.status
            if route is None and status in _REFUSED:
                route = self._route_of(exchange)
            method, path, _, peer, scheme, version, _ = exchange.facts
            headers = exchange.headers
            host = headers.get(b"host") or request.target_of(exchange.facts)
            template = self._templates.get((method, route, status, scheme, version, host))
            if template is None:
                template = self._batcher.create_template(exchange, route, status)
            client_key = peer and peer[0], headers.get(b"user-agent")
            client = self._clients.get(client_key) or self._batcher.create_client(client_key)
            if span is not None or result is not None or bound or not template.is_fast:
                extras = self._extras(exchange, template, RequestExtras(bound, span, result))
            began, ended, sent_bytes = exchange.received_ns, exchange.ended_ns, exchange.sent_bytes
            self._add((template, client, path, began, ended, sent_bytes, exchange.ids, exchange.id, extras))
        except Exception:
            log.exception("request not reported")
        exchange.context = None
        if context is not NO_PARENT:
            # A task that the application left behind may keep the context.
            context.request = exchange.ids
        if not self._is_timer_running:
            self._start_timer()
        detach(trace_token)
        if bound is _NO_FIELDS:
            _id.reset(id_token)
        else:
            _restore(id_token, before, bound)

    def _context_of(self, exchange: Exchange) -> Context:
        """Return the context of a request with an id or a trace, or whose span another provider creates."""
        # Repeated headers are joined by a comma, and so invalid.
        sent = exchange.headers.get(REQUEST_ID)
        if sent is not None and _REQUEST_ID(sent):
            exchange.id, exchange.id_bytes = sent.decode(), sent
        if is_health(exchange):
            return NO_PARENT
        parent, foreign = NO_PARENT, None
        if sent_names := self._trace_headers.intersection(exchange.headers):
            is_traceparent = self._has_default_propagators and sent_names == {b"traceparent"}
            parent = request.parent_of(exchange, is_traceparent=is_traceparent)
            if not exchange.is_internal:
                # Strangers choose neither the trace id, nor whether it is sampled, nor baggage.
                foreign, parent = span_context_in(parent), NO_PARENT
        if parent is NO_PARENT and not self._is_foreign:
            if not self._makes_spans:
                exchange.ids = b""
                return NO_PARENT
            if foreign is None:
                context = RequestContext()
                context.request = exchange
                return context
        return set_span_in_context(start_request_span(exchange, parent, foreign), parent)

    def _extras(
        self, exchange: Exchange, template: RequestTemplate, extras: RequestExtras
    ) -> RequestExtras | None:
        """Return what must be kept with the record."""
        bound, span, result = extras
        if result is not None:
            return RequestExtras(bound, None, result)
        if not template.is_fast:
            if exchange.facts[1].startswith(request.HEALTH):
                exchange.ids = b""
            elif span is None and (
                self._needs_spans or (self._makes_spans and template.key[0] == request.OTHER)
            ):
                span = start_request_span(exchange, NO_PARENT)
            return RequestExtras(bound, span if isinstance(span, ServerSpan) else None, None)
        if span is not None and span.is_plain:
            # Reported as one that was never created: its encoded form is the same.
            span.end_ns, span = exchange.ended_ns, None
        return RequestExtras(bound, span, None) if span is not None or bound else None

    def _read_globals(self) -> None:
        """Read what applications may set at any time, and seldom do."""
        tracer = request_tracer()
        self._makes_spans = isinstance(tracer, Tracer)
        self._is_foreign = not isinstance(tracer, (Tracer, ProxyTracer))
        self._needs_spans = isinstance(tracer, Tracer) and tracer.output.put_encoded is None
        self._batcher.require_span_objects(is_needed=self._needs_spans)
        self._trace_headers = frozenset(
            field.lower().encode() for field in propagate.get_global_textmap().fields
        )
        self._has_default_propagators = has_default_propagators()
        self._relevant_headers = self._trace_headers | {REQUEST_ID}

    def _set_batching(self, *, is_enabled: bool) -> None:
        self._batcher.set_batching(is_enabled=is_enabled)
        self._add = self._batcher.records.append

    def _start_timer(self) -> None:
        """Start the timer that all requests share: a timer per request would cost more than it saves."""
        try:
            asyncio.get_running_loop().call_later(_FLUSH_INTERVAL_S, self._on_timer)
        except RuntimeError:
            # Some test clients run a loop that is not asyncio's.
            self._set_batching(is_enabled=False)
        else:
            self._is_timer_running = True

    def _on_timer(self) -> None:
        self._is_timer_running = False
        self._read_globals()
        self.flush()
        if self._pipeline.recent:
            self._start_timer()

    def _report(
        self,
        exchange: HttpExchange | WebSocketExchange,
        error: BaseException | None,
        span: Any,
        route: str | None,
    ) -> SlowPathResult:
        """Report a request that failed or was slow, or whose span is not our own, except for its metrics."""
        status = outcome(exchange, error)
        if route is None and status in _REFUSED:
            route = self._route_of(exchange)
        if span is None and self._makes_spans and not is_health(exchange):
            span = start_request_span(exchange, NO_PARENT)
        is_slow = exchange.ended_ns - exchange.received_ns >= self._slow_ns and not exchange.is_event_stream
        return report_slowly(
            exchange, error, span, (request.method_label(exchange.method), route, status), is_slow=is_slow
        )

    def _route_of(self, exchange: Exchange) -> str | None:
        """Return the template of a route that does not have the request's method; the router hides it."""
        with suppress(Exception):
            return route_template(self._app, normalize_path(exchange.path[: request.LONGEST_PATH]))
        return None


def _bound_fields() -> Mapping[str, Any]:
    """Return the fields bound in structlog's context variables, except the request id."""
    found = get_contextvars()
    found.pop("request_id", None)
    return found


def _restore(token: Token[str], before: ContextVars, bound: Mapping[str, Any]) -> None:
    """Restore structlog's context variables after a request, including those that the application bound."""
    if bound or len(before):
        clear_contextvars()
        bind_contextvars(**before.run(get_contextvars))
    else:
        _id.reset(token)
