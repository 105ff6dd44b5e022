"""Private names of other libraries that this package uses, each checked when the process starts."""

# ruff: noqa: PLC2701 - private names are the subject of this module

from collections.abc import Callable
from contextvars import ContextVar, Token, copy_context
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bind_contextvars, get_contextvars

_PACKAGE: Final = "starkeel-observability"


class UnsupportedLibraryError(RuntimeError):
    """A private name of an installed library is missing or has changed."""

    def __init__(self, distribution: str, name: str) -> None:
        from importlib.metadata import requires, version

        allowed = [given for given in requires(_PACKAGE) or () if given.startswith(distribution)]
        super().__init__(
            f"{_PACKAGE} does not support {distribution} {version(distribution)}: `{name}` is missing or has "
            f"changed. Install another version of `{(*allowed, distribution)[0]}`, or upgrade {_PACKAGE}."
        )


def _require(is_supported: bool, distribution: str, name: str) -> None:
    if not is_supported:
        raise UnsupportedLibraryError(distribution, name)


try:
    from opentelemetry.util._decorator import _agnosticcontextmanager
except ImportError:
    raise UnsupportedLibraryError(
        "opentelemetry-api", "opentelemetry.util._decorator._agnosticcontextmanager"
    ) from None
agnostic_context_manager: Final = _agnosticcontextmanager


def _span_key() -> str:
    """Return the key of the current span; checks that a subclass of `Context` can create it on access."""
    span = trace.NonRecordingSpan(trace.SpanContext(1, 1, is_remote=False))
    key, *others = trace.set_span_in_context(trace.INVALID_SPAN, Context())

    class Lazy(Context):
        def get(self, name: str, default: Any = None) -> Any:
            return span if name == key else default

        def copy(self) -> dict[str, object]:
            return {key: span}

    lazy = Lazy()
    is_lazy = trace.get_current_span(lazy) is span
    is_lazy &= trace.get_current_span(otel_context.set_value("other", 1, lazy)) is span
    lazy.__class__ = Context  # type: ignore[assignment]  # as `RequestContext` does
    is_lazy &= trace.get_current_span(lazy) is trace.INVALID_SPAN
    _require(is_lazy and not others, "opentelemetry-api", "opentelemetry.trace.propagation._SPAN_KEY")
    return key


SPAN_KEY: Final = _span_key()


def _variable(bind: Callable[[], Any], read: Callable[[], Any], value: Any) -> ContextVar[Any] | None:
    """Return the context variable of a library: its own functions cost a microsecond per call."""
    token = copy_context().run(bind)
    if not isinstance(token, Token):
        return None

    def is_read() -> bool:
        token.var.set(value)
        return read() is value

    return token.var if copy_context().run(is_read) else None


_request_id = _variable(
    lambda: bind_contextvars(request_id="").get("request_id"),
    lambda: get_contextvars().get("request_id"),
    "a value",
)
if _request_id is None:
    raise UnsupportedLibraryError("structlog", "structlog.contextvars.bind_contextvars")
REQUEST_ID_VARIABLE: Final = _request_id
"""Variable of structlog for the field `request_id`."""
TRACE_VARIABLE: Final[ContextVar[Context] | None] = _variable(
    lambda: otel_context.attach(Context()), otel_context.get_current, Context()
)
"""Variable of OpenTelemetry's context; `None` if `OTEL_PYTHON_CONTEXT` is not based on `contextvars`."""
attach: Final[Callable[[Context], Any]] = (
    otel_context.attach if TRACE_VARIABLE is None else TRACE_VARIABLE.set
)
detach: Final[Callable[[Any], None]] = otel_context.detach if TRACE_VARIABLE is None else TRACE_VARIABLE.reset


def has_default_propagators() -> bool:
    """Return whether the propagators are those of W3C; False as well if their attribute has another name."""
    found = getattr(propagate.get_global_textmap(), "_propagators", ())
    return [type(propagator) for propagator in found] == [TraceContextTextMapPropagator, W3CBaggagePropagator]


def check_metric(metric: Any, *names: str) -> None:
    """Check a new metric of `prometheus_client`: a parent has children, others have values in `names`."""
    kind = type(metric).__bases__[-1].__name__
    label_names, label_values = getattr(metric, "_labelnames", None), getattr(metric, "_labelvalues", None)
    _require(isinstance(label_names, tuple), "prometheus-client", f"{kind}._labelnames")
    _require(isinstance(label_values, tuple), "prometheus-client", f"{kind}._labelvalues")
    if label_names and not label_values:
        _require(isinstance(getattr(metric, "_metrics", None), dict), "prometheus-client", f"{kind}._metrics")
        return
    for name in names:
        found = getattr(metric, name, None)
        values = found if isinstance(found, list) else [found]
        is_supported = all(hasattr(value, method) for value in values for method in ("inc", "set_exemplar"))
        _require(is_supported, "prometheus-client", f"{kind}.{name}")


def route_template(app: Any, path: str) -> str:
    """Return the template of the route that matches a path, whatever its methods.

    Raises:
        NotFoundException: No route matches.
    """
    # Litestar has OPTIONS on every route.
    template: str = app.asgi_router.handle_routing(path=path, method="OPTIONS")[-1]
    return template


def check_litestar(app: Any) -> None:
    """Check that `route_template` works, on a route of an application."""
    from litestar.routes import HTTPRoute

    routes = [route for route in app.routes if isinstance(route, HTTPRoute) and not route.path_parameters]
    try:
        is_supported = all(route_template(app, route.path) == route.path_format for route in routes[:1])
    except Exception:  # noqa: BLE001 - any exception means that the signature has changed
        is_supported = False
    _require(is_supported, "litestar", "ASGIRouter.handle_routing")
