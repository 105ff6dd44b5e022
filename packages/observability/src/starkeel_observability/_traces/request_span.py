"""Start and end of request spans, with our own tracer or that of the application's provider."""

from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from starkeel_asgi import Exchange

from .._request.failure import Failure
from .._request.labels import Key
from .._request.request import began_unix_ns, ended_unix_ns, method_label
from .server_span import ServerSpan, request_attributes, response_attributes, span_name
from .span import exception_attributes
from .tracer import Tracer

_tracers: Final[list[trace.Tracer]] = []
"""The tracer, once a provider is installed."""


def start(request: Exchange, parent: Context) -> Span:
    """Start the span of a request, as in OpenTelemetry's conventions for HTTP servers (stable since 1.23)."""
    tracer = _tracer()
    if isinstance(tracer, Tracer):
        return tracer.start_request_span(request, parent)
    name, attributes = span_name(method_label(request), None), request_attributes(request)
    return tracer.start_span(name, context=parent, kind=SpanKind.SERVER, attributes=attributes)


def own_tracer() -> Tracer | None:
    """Return our tracer; `None` if no provider is installed, or the application's own."""
    tracer = _tracer()
    return tracer if isinstance(tracer, Tracer) else None


def _tracer() -> trace.Tracer:
    if _tracers:
        return _tracers[0]
    tracer = trace.get_tracer("starkeel_observability")
    if not isinstance(tracer, trace.ProxyTracer):
        _tracers.append(tracer)
    return tracer


def end(span: Span, request: Exchange, key: Key, failure: Failure | None) -> bytes:
    """Complete and end the span of a request that has ended.

    Returns:
        Trace id, 16 bytes, and span id, 8 bytes; empty if the span has none.
    """
    if isinstance(span, ServerSpan):
        if failure is not None and failure.exception is not None:
            span.record_exception(failure.exception)
        error_type = None if failure is None else failure.error_type
        if span.complete(key, error_type, (began_unix_ns(request), ended_unix_ns(request))):
            span.export()
        return span.ids
    if span.is_recording():
        _complete(span, request, key, failure)
    span.end(ended_unix_ns(request))
    context = span.get_span_context()
    if not context.is_valid:
        return b""
    return context.trace_id.to_bytes(16, "big") + context.span_id.to_bytes(8, "big")


def _complete(span: Span, request: Exchange, key: Key, failure: Failure | None) -> None:
    method, route, _ = key
    if route is not None:
        span.update_name(span_name(method, route))
    span.set_attributes(response_attributes(key, request.client))
    if failure is None:
        return
    span.set_attribute("error.type", failure.error_type)
    # Without a description: the exception's message may contain personal data.
    span.set_status(StatusCode.ERROR)
    if failure.exception is not None:
        span.add_event("exception", exception_attributes(failure.exception))
