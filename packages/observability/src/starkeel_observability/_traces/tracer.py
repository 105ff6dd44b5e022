"""Start of spans: OpenTelemetry's interface over `RecordedSpan`, and the context of a request."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.util.types import Attributes
from starkeel_asgi import Exchange

from .._compat import SPAN_KEY, agnostic_context_manager
from .._config.otel_types import SamplerName
from .._request.request import HEALTH, method_label, random_bits
from .server_attributes import request_attributes, span_name
from .server_span import ServerSpan
from .span import RANDOM_ID, SAMPLED, RecordedSpan, SpanOutput, clean_attributes

ShouldSample = Callable[[SpanContext | None, bytes], bool]
"""Return whether a span is recorded, given its parent and its trace id (16 bytes, more are ignored)."""


def sampler(name: SamplerName, ratio: float) -> ShouldSample:
    """Return the sampling function of a sampler that OpenTelemetry specifies.

    `ratio` is the share of traces to record, for the `traceidratio` samplers.
    """
    if name == "parentbased_always_on":
        return unless_parent_unsampled
    kind = name.removeprefix("parentbased_")
    follows_parent = kind != name
    bound = round({"always_on": 1.0, "always_off": 0.0}.get(kind, ratio) * (1 << 64))

    def should_sample(parent: SpanContext | None, trace_id: bytes) -> bool:
        if follows_parent and parent is not None:
            return bool(parent.trace_flags & 1)
        # The same bits as in the SDK: services with the same ratio sample the same traces.
        return int.from_bytes(trace_id[8:16], "big") < bound

    return should_sample


def unless_parent_unsampled(parent: SpanContext | None, _trace_id: bytes) -> bool:
    """Return True unless the parent is not sampled (`parentbased_always_on`, the default)."""
    return parent is None or bool(parent.trace_flags & 1)


@dataclass(eq=False)
class Tracer(trace.Tracer):
    """Creates the spans of one instrumentation scope."""

    output: SpanOutput
    should_sample: ShouldSample

    def start_request_span(
        self, exchange: Exchange, parent: SpanContext | None, foreign: SpanContext | None
    ) -> Span:
        # A root span has the ids of the request: a span that is created late has the ids that were reported.
        ids = exchange.ids if parent is None else _new_ids(parent)
        if not self.should_sample(parent, ids):
            return _unrecorded(parent, ids)
        made = ServerSpan(self.output, "", SpanKind.SERVER, ids=ids, attributes=None, start_ns=0)
        made.facts, made.headers, made.received_ns = exchange.facts, exchange.headers, exchange.received_ns
        if parent is not None:
            made.set_parent(parent)
        if foreign is not None:
            made.add_link(foreign)
        return made

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """Start a span; see `opentelemetry.trace.Tracer.start_span`."""
        parent = span_context_in(context)
        ids = _new_ids(parent)
        if not self.should_sample(parent, ids):
            return _unrecorded(parent, ids)
        kept, dropped = clean_attributes(attributes)
        start_ns = time.time_ns() if start_time is None else start_time
        span = RecordedSpan(self.output, name, kind, ids=ids, attributes=kept, start_ns=start_ns)
        if parent is not None:
            span.set_parent(parent)
        span.dropped = dropped
        if not (record_exception and set_status_on_exception):
            span.on_exception = record_exception, set_status_on_exception
        for link in links or ():
            span.add_link(link.context, link.attributes)
        return span

    @agnostic_context_manager
    def start_as_current_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Iterator[Span]:
        """Start a span that is current within the block; see `opentelemetry.trace.Tracer`."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(
            span,
            end_on_exit=end_on_exit,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        ):
            yield span


class RequestContext(Context):
    """Context of a request without an incoming trace; creates its span on first access.

    Most requests never access it; they are reported without a span object. From then on it is an ordinary
    context.
    """

    request: Exchange | bytes
    """The exchange; once it has ended, its ids, which are empty for a health check."""

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value; creates the span if `key` is that of the current span."""
        if key != SPAN_KEY or SPAN_KEY in self:
            return _get(self, key, default)
        request = self.request
        if not request or (not isinstance(request, bytes) and request.facts[1].startswith(HEALTH)):
            return default
        span = _ended(request) if isinstance(request, bytes) else start_request_span(request, NO_PARENT)
        # Several threads may get here at once; all must return the same span.
        found = dict.setdefault(self, SPAN_KEY, span)
        self.__class__ = Context  # type: ignore[assignment]  # from now on `get` is that of `dict`
        return found

    def copy(self) -> dict[str, object]:
        self.get(SPAN_KEY)
        return dict.copy(self)

    def __missing__(self, key: str) -> Any:
        found = self.get(key, _MISSING)
        if found is _MISSING:
            raise KeyError(key)
        return found


NO_PARENT: Final = Context()
_MISSING: Final = object()
_get: Final = dict.get
_tracers: Final[list[trace.Tracer]] = []
"""The tracer, once a provider is installed."""


def request_tracer() -> trace.Tracer:
    """Return the tracer of requests: a `Tracer`, another provider's, or a `ProxyTracer` without provider."""
    if _tracers:
        return _tracers[0]
    tracer = trace.get_tracer("starkeel_observability")
    if not isinstance(tracer, trace.ProxyTracer):
        _tracers.append(tracer)
    return tracer


def start_request_span(exchange: Exchange, context: Context, foreign: SpanContext | None = None) -> Span:
    """Start the span of a request, as in OpenTelemetry's conventions for HTTP servers (stable since 1.23).

    Args:
        exchange: The request.
        context: Context with the parent, if any.
        foreign: Span of a client that is not trusted: the span links to it.
    """
    tracer = request_tracer()
    if isinstance(tracer, Tracer):
        return tracer.start_request_span(exchange, span_context_in(context), foreign)
    name = span_name(method_label(exchange.method), None)
    attributes = request_attributes(exchange.facts, exchange.headers)
    links = None if foreign is None else [Link(foreign)]
    return tracer.start_span(name, context=context, kind=SpanKind.SERVER, attributes=attributes, links=links)


def span_context_in(context: Context | None) -> SpanContext | None:
    """Return the span context of the current span; `None` if it has none, or an invalid one."""
    span = trace.get_current_span(context)
    if span is trace.INVALID_SPAN:
        return None
    given = span.get_span_context()
    return given if given.is_valid else None


def _new_ids(parent: SpanContext | None) -> bytes:
    """Return a trace id, 16 bytes, and a new span id, 8 bytes."""
    if parent is None:
        return random_bits(192).to_bytes(24, "big")
    return parent.trace_id.to_bytes(16, "big") + random_bits(64).to_bytes(8, "big")


def _unrecorded(parent: SpanContext | None, ids: bytes) -> Span:
    """Return a span that is propagated as not sampled."""
    if parent is None:
        return _propagated(ids, 0, TraceState())
    return _propagated(ids, parent.trace_flags & RANDOM_ID, parent.trace_state)


def _ended(ids: bytes) -> Span:
    """Return the span of a request that has ended: it is propagated, but does not record."""
    tracer = request_tracer()
    is_sampled = isinstance(tracer, Tracer) and tracer.should_sample(None, ids)
    return _propagated(ids, SAMPLED if is_sampled else 0, TraceState())


def _propagated(ids: bytes, flags: int, state: TraceState) -> Span:
    trace_id, span_id = int.from_bytes(ids[:16], "big"), int.from_bytes(ids[16:], "big")
    return NonRecordingSpan(SpanContext(trace_id, span_id, False, TraceFlags(flags), state))
