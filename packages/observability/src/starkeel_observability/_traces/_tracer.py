"""Who makes spans: OpenTelemetry's interface over spans of our own."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.util._decorator import _agnosticcontextmanager  # noqa: PLC2701 - the interface asks for it
from opentelemetry.util.types import Attributes

from starkeel_observability._random import random_bits
from starkeel_observability._request import Request

from ._recorded import RANDOM_ID, Finished, Origin, Put, RecordedSpan, Scope, cleaned_all
from ._sampler import Decide
from ._server import ServerSpan


class Tracer(trace.Tracer):
    """Makes the spans of one library.

    Args:
        origin: Who that is, and who takes spans.
        decide: Whether a span is recorded.
    """

    def __init__(self, origin: Origin, decide: Decide) -> None:
        self.origin = origin
        self.decide = decide

    def begin(
        self,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: dict[str, Any],
        start_ns: int | None = None,
    ) -> Span:
        """Begin a span whose attributes are fit to be sent, and its own from now on."""
        parent = _parent(context)
        ids = _ids(parent)
        if not self.decide(parent, ids):
            return _unrecorded(parent, ids)
        at_ns = time.time_ns() if start_ns is None else start_ns
        made = RecordedSpan(self.origin, name, kind, ids=ids, attributes=attributes, start_ns=at_ns)
        if parent is not None:
            made.belong(parent)
        return made

    def serve(self, request: Request, context: Context) -> Span:
        """Begin the span of a request."""
        parent = _parent(context)
        # Its own, where nobody else's come first: who asks late for its span asks for the one that was told.
        ids = request.ids if parent is None else _ids(parent)
        if not self.decide(parent, ids):
            return _unrecorded(parent, ids)
        made = ServerSpan(self.origin, request, ids)
        if parent is not None:
            made.belong(parent)
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
        """Begin a span, as OpenTelemetry describes it."""
        kept, dropped = cleaned_all(attributes)
        span = self.begin(name, context, kind, kept, start_time)
        if isinstance(span, RecordedSpan):
            span.dropped = dropped
            if not (record_exception and set_status_on_exception):
                span.on_exception = record_exception, set_status_on_exception
            for link in links or ():
                span.add_link(link.context, link.attributes)
        return span

    @_agnosticcontextmanager
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
        """Begin a span that is current until the block ends."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(
            span,
            end_on_exit=end_on_exit,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        ):
            yield span


class Provider(trace.TracerProvider):
    """Gives every library its tracer.

    Args:
        decide: Whether a span is recorded.
        finished: Called with every span that has ended.
        put: Takes spans of requests that nobody asked for, as OTLP's messages; else they are made.
    """

    def __init__(self, decide: Decide, finished: Finished, put: Put | None = None) -> None:
        self._decide = decide
        self._finished = finished
        self._put = put

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        """As OpenTelemetry describes it."""
        scope = Scope(
            instrumenting_module_name or "", instrumenting_library_version or "", schema_url or "", attributes
        )
        return Tracer(Origin(scope, self._finished, self._put), self._decide)


def _parent(context: Context | None) -> SpanContext | None:
    span = trace.get_current_span(context)
    if span is trace.INVALID_SPAN:
        return None
    given = span.get_span_context()
    return given if given.is_valid else None


def _ids(parent: SpanContext | None) -> bytes:
    """Of a span's trace, and its own."""
    if parent is None:
        return random_bits(192).to_bytes(24, "big")
    return parent.trace_id.to_bytes(16, "big") + random_bits(64).to_bytes(8, "big")


def _unrecorded(parent: SpanContext | None, ids: bytes) -> Span:
    """A span that is passed on, and says that it is not recorded."""
    state = TraceState() if parent is None else parent.trace_state
    flags = 0 if parent is None else parent.trace_flags & RANDOM_ID
    trace_id, span_id = int.from_bytes(ids[:16], "big"), int.from_bytes(ids[16:], "big")
    return NonRecordingSpan(SpanContext(trace_id, span_id, False, TraceFlags(flags), state))
