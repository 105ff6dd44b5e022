"""Tracer provider and tracers: OpenTelemetry's interface over `RecordedSpan`."""

import time
from collections.abc import Callable, Iterator, Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.util.types import Attributes
from starkeel_asgi import Exchange

from .._compat import agnostic_context_manager
from .._config.otel_types import SamplerName
from .._request.ids import random_bits
from .server_span import ServerSpan
from .span import (
    RANDOM_ID,
    InstrumentationScope,
    OnEnd,
    PutEncoded,
    RecordedSpan,
    SpanOutput,
    clean_attributes,
)

ShouldSample = Callable[[SpanContext | None, bytes], bool]
"""Return whether a span is recorded, given its parent and its trace id (16 bytes, more are ignored)."""


def sampler(name: SamplerName, ratio: float) -> ShouldSample:
    """Return the sampling function of a sampler that OpenTelemetry specifies.

    Args:
        name: Value of `OTEL_TRACES_SAMPLER`.
        ratio: Share of traces to record, for the `traceidratio` samplers.
    """
    if name == "parentbased_always_on":
        return unless_parent_unsampled
    root = _root_sampler(name.removeprefix("parentbased_"), ratio)
    if not name.startswith("parentbased_"):
        return root

    def by_parent(parent: SpanContext | None, trace_id: bytes) -> bool:
        return root(None, trace_id) if parent is None else bool(parent.trace_flags & 1)

    return by_parent


def unless_parent_unsampled(parent: SpanContext | None, _trace_id: bytes) -> bool:
    """Return True unless the parent is not sampled (`parentbased_always_on`, the default)."""
    return parent is None or bool(parent.trace_flags & 1)


def _root_sampler(name: str, ratio: float) -> ShouldSample:
    if name == "always_on":
        return lambda _parent, _trace_id: True
    if name == "always_off":
        return lambda _parent, _trace_id: False
    # The same bits as in the SDK: services with the same ratio sample the same traces.
    bound = round(ratio * (1 << 64))
    return lambda _parent, trace_id: int.from_bytes(trace_id[8:16], "big") < bound


class Tracer(trace.Tracer):
    """Creates the spans of one instrumentation scope."""

    def __init__(self, output: SpanOutput, should_sample: ShouldSample) -> None:
        self.output = output
        self.should_sample = should_sample

    def start_request_span(self, request: Exchange, context: Context) -> Span:
        parent = _parent(context)
        # A root span has the ids of the request: a span that is created late has the ids that were reported.
        ids = request.ids if parent is None else _new_ids(parent)
        if not self.should_sample(parent, ids):
            return _unrecorded(parent, ids)
        made = ServerSpan(self.output, request, ids)
        if parent is not None:
            made.set_parent(parent)
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
        parent = _parent(context)
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


class Provider(trace.TracerProvider):
    """Creates a tracer per instrumentation scope.

    Args:
        should_sample: Sampling function.
        on_end: Called with every span that has ended.
        put_encoded: Accepts the encoded spans of requests for which no span object was created; `None` to
            create an object for every request.
    """

    def __init__(
        self, should_sample: ShouldSample, on_end: OnEnd, put_encoded: PutEncoded | None = None
    ) -> None:
        self._should_sample = should_sample
        self._on_end = on_end
        self._put_encoded = put_encoded

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        """Return a tracer; see `opentelemetry.trace.TracerProvider.get_tracer`."""
        scope = InstrumentationScope(
            instrumenting_module_name or "", instrumenting_library_version or "", schema_url or "", attributes
        )
        return Tracer(SpanOutput(scope, self._on_end, self._put_encoded), self._should_sample)


def _parent(context: Context | None) -> SpanContext | None:
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
    state = TraceState() if parent is None else parent.trace_state
    flags = 0 if parent is None else parent.trace_flags & RANDOM_ID
    trace_id, span_id = int.from_bytes(ids[:16], "big"), int.from_bytes(ids[16:], "big")
    return NonRecordingSpan(SpanContext(trace_id, span_id, False, TraceFlags(flags), state))
