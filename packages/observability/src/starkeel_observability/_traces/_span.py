"""The span of a request, as OpenTelemetry's conventions for HTTP servers (stable since 1.23) have it."""

from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from starkeel_observability._failure import Failure
from starkeel_observability._metrics._http import Key
from starkeel_observability._request import Request

from ._server import ServerSpan, answered, asked, name_of
from ._tracer import Tracer

_found: Final[list[trace.Tracer]] = []


def start(request: Request, parent: Context) -> Span:
    """Begin the span of a request."""
    tracer = _tracer()
    if isinstance(tracer, Tracer):
        return tracer.serve(request, parent)
    name, attributes = name_of(request.method, None), asked(request)
    return tracer.start_span(name, context=parent, kind=SpanKind.SERVER, attributes=attributes)


def own_tracer() -> Tracer | None:
    """Who makes the spans of requests, unless an application has installed a provider of its own."""
    tracer = _tracer()
    return tracer if isinstance(tracer, Tracer) else None


def _tracer() -> trace.Tracer:
    """Of the provider that is installed; that of a stand-in until one is."""
    if _found:
        return _found[0]
    tracer = trace.get_tracer("starkeel_observability")
    if not isinstance(tracer, trace.ProxyTracer):
        _found.append(tracer)
    return tracer


def end(span: Span, request: Request, key: Key, failure: Failure | None) -> bytes:
    """Complete a span and end it.

    Args:
        span: What `start` gave.
        request: That it is of; it is over.
        key: What it was, and the status of the answer.
        failure: What went wrong, when it is the service's fault.

    Returns:
        Ids of its trace, 16 bytes, and its own, 8 bytes; nothing when it has none.
    """
    if isinstance(span, ServerSpan):
        if failure is not None and failure.exception is not None:
            span.record_exception(failure.exception)
        error_type = None if failure is None else failure.error_type
        if span.complete(key, error_type, (request.began_ns, request.ended_ns)):
            span.finish()
        return span.ids
    if span.is_recording():
        _complete(span, request, key, failure)
    span.end(request.ended_ns)
    context = span.get_span_context()
    if not context.is_valid:
        return b""
    return context.trace_id.to_bytes(16, "big") + context.span_id.to_bytes(8, "big")


def _complete(span: Span, request: Request, key: Key, failure: Failure | None) -> None:
    method, route, _ = key
    if route is not None:
        span.update_name(name_of(method, route))
    span.set_attributes(answered(key, request.client))
    if failure is None:
        return
    span.set_attribute("error.type", failure.error_type)
    # Without a description: it would be the exception's, which may hold personal data.
    span.set_status(StatusCode.ERROR)
    if failure.exception is not None:
        span.add_event("exception", _told(failure.exception))


def _told(error: BaseException) -> dict[str, AttributeValue]:
    from starkeel_observability._logs._event import told_exception

    told = told_exception((type(error), error, error.__traceback__))
    return {
        "exception.type": told["type"],
        "exception.message": told["message"],
        "exception.stacktrace": told["stack"],
    }
