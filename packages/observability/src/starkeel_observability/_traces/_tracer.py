"""Who makes spans: OpenTelemetry's interface over spans of our own."""

import time
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.util._decorator import _agnosticcontextmanager  # noqa: PLC2701 - the interface asks for it
from opentelemetry.util.types import Attributes

from ._recorded import RecordedSpan, Scope, cleaned_all
from ._sampler import Decide

_RANDOM_ID: Final = 2
"""The flag of a trace whose id is random: the caller's, and passed on."""

Finished = Callable[[RecordedSpan], None]


class Tracer(trace.Tracer):
    """Makes the spans of one library.

    Args:
        scope: Who that is.
        decide: Whether a span is recorded.
        finished: Called with every span that has ended.
    """

    def __init__(self, scope: Scope, decide: Decide, finished: Finished) -> None:
        self._scope = scope
        self._decide = decide
        self._finished = finished
        # Not the module's own: an application may seed that.
        self._bits = Random().getrandbits  # noqa: S311 - ids, not secrets

    def begin(
        self,
        name: str,
        context: Context | None,
        kind: SpanKind,
        attributes: dict[str, Any],
        start_ns: int | None = None,
    ) -> Span:
        """Begin a span whose attributes are fit to be sent, and its own from now on."""
        # Most requests bring an empty context.
        parent = None if context is not None and not context else _parent(context)
        trace_id = parent.trace_id if parent is not None else self._bits(128) or 1
        span_id = self._bits(64) or 1
        if not self._decide(parent, trace_id):
            return _unrecorded(parent, trace_id, span_id)
        made = RecordedSpan(
            self._finished,
            self._scope,
            name,
            kind,
            trace_id=trace_id,
            span_id=span_id,
            attributes=attributes,
            start_ns=time.time_ns() if start_ns is None else start_ns,
        )
        if parent is not None:
            made.parent_id = parent.span_id
            made.is_parent_remote = parent.is_remote
            made.trace_state = parent.trace_state
            made.flags |= parent.trace_flags & _RANDOM_ID
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
    """

    def __init__(self, decide: Decide, finished: Finished) -> None:
        self._decide = decide
        self._finished = finished

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
        return Tracer(scope, self._decide, self._finished)


def _parent(context: Context | None) -> SpanContext | None:
    span = trace.get_current_span(context)
    if span is trace.INVALID_SPAN:
        return None
    given = span.get_span_context()
    return given if given.is_valid else None


def _unrecorded(parent: SpanContext | None, trace_id: int, span_id: int) -> Span:
    """A span that is passed on, and says that it is not recorded."""
    state = TraceState() if parent is None else parent.trace_state
    flags = 0 if parent is None else parent.trace_flags & _RANDOM_ID
    return NonRecordingSpan(SpanContext(trace_id, span_id, False, TraceFlags(flags), state))
