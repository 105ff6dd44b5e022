"""The span of a request, as OpenTelemetry's conventions for HTTP servers (stable since 1.23) have it."""

from functools import lru_cache
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.util.types import AttributeValue

from starkeel_observability._logs._redact import masked
from starkeel_observability._metrics._http import OTHER
from starkeel_observability._request import Request

from ._recorded import RecordedSpan
from ._tracer import Tracer

_found: Final[list[trace.Tracer]] = []
_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def start(request: Request, parent: Context) -> Span:
    """Begin the span of a request."""
    tracer = _tracer()
    if isinstance(tracer, Tracer):
        return tracer.begin(_method_name(request), parent, SpanKind.SERVER, _asked(request))
    return tracer.start_span(
        _method_name(request), context=parent, kind=SpanKind.SERVER, attributes=_asked(request)
    )


def _tracer() -> trace.Tracer:
    """The tracer of the provider that is installed; a stand-in until one is."""
    if not _found:
        made = trace.get_tracer("starkeel_observability")
        if isinstance(made, trace.ProxyTracer):
            return made
        _found.append(made)
    return _found[0]


def end(
    span: Span,
    request: Request,
    *,
    route: str | None,
    status: int,
    error_type: str | None,
    error: BaseException | None,
) -> None:
    """Complete a span and end it.

    Args:
        span: What `start` gave.
        request: Whose client is known by now.
        route: Template of the route; none when none matched.
        status: Of the answer.
        error_type: What went wrong, when it is the service's fault.
        error: The exception behind it, when it is known.
    """
    if isinstance(span, RecordedSpan):
        _complete(span, request, route, status, error_type)
        if error is not None:
            span.record_exception(error)
    elif span.is_recording():
        if route is not None:
            span.update_name(f"{_method_name(request)} {route}")
            span.set_attribute("http.route", route)
        if request.client is not None:
            span.set_attribute("client.address", request.client)
        span.set_attribute("http.response.status_code", status)
        if error_type is not None:
            span.set_attribute("error.type", error_type)
            # Without a description: it would be the exception's, which may hold personal data.
            span.set_status(StatusCode.ERROR)
        if error is not None:
            span.add_event("exception", _told(error))
    span.end()


def _complete(
    span: RecordedSpan, request: Request, route: str | None, status: int, error_type: str | None
) -> None:
    """As below, without the checks that are for others."""
    attributes, client = span.attributes, request.client
    if route is not None:
        span.name = f"{_method_name(request)} {route}"
        attributes["http.route"] = route
    if client is not None:
        attributes["client.address"] = client
    attributes["http.response.status_code"] = status
    if error_type is not None:
        attributes["error.type"] = error_type
        span.set_status(StatusCode.ERROR)


def _method_name(request: Request) -> str:
    return "HTTP" if request.method == OTHER else request.method


def _asked(request: Request) -> dict[str, AttributeValue]:
    scope = request.scope
    scheme = scope.get("scheme") or "http"
    attributes: dict[str, AttributeValue] = {
        "http.request.method": request.method,
        "url.path": masked(request.path),
        "url.scheme": scheme,
        "network.protocol.version": scope.get("http_version") or "1.1",
    }
    if request.method == OTHER:
        attributes["http.request.method_original"] = request.method_sent[:64]
    address, port = _server(request)
    if address:
        attributes["server.address"] = address
        attributes["server.port"] = port or _DEFAULT_PORTS.get(scheme, 80)
    agent = request.header("user-agent")
    if agent:
        attributes["user_agent.original"] = _agent(agent[:512])
    return attributes


@lru_cache(maxsize=256)
def _agent(text: str) -> str:
    return masked(text)


def _server(request: Request) -> tuple[str, int | None]:
    """What the client believes to talk to, else where we listen."""
    host = request.header("host")
    if not host:
        server = request.scope.get("server") or ("", None)
        return server[0], server[1]
    return _split(host)


@lru_cache(maxsize=256)
def _split(host: str) -> tuple[str, int | None]:
    address, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        return host[:255], None
    return address[:255], int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else None


def _told(error: BaseException) -> dict[str, AttributeValue]:
    from starkeel_observability._logs._event import told_exception

    told = told_exception((type(error), error, error.__traceback__))
    return {
        "exception.type": told["type"],
        "exception.message": told["message"],
        "exception.stacktrace": told["stack"],
    }
