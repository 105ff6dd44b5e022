"""Which trace an event comes from, and the span of whoever is told of it."""

from typing import Final

from opentelemetry.trace import Link, SpanKind, get_current_span, get_tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ._outbox_table import Event

_HEADER: Final = "traceparent"
_propagator: Final = TraceContextTextMapPropagator()


def current_traceparent() -> str | None:
    """The current span as W3C's `traceparent` has it; None without one."""
    carrier: dict[str, str] = {}
    # Not what the process propagates otherwise: this is kept, and read by those who come later.
    _propagator.inject(carrier)
    return carrier.get(_HEADER)


def record_receipt(event: Event) -> None:
    """Record that an event was handed to somebody: a span of theirs, linked to where the event comes from.

    A link and no parent: what happened may be over for hours, and many are told of it.
    """
    if event.traceparent is None or not get_current_span().is_recording():
        return
    origin = get_current_span(_propagator.extract({_HEADER: event.traceparent})).get_span_context()
    get_tracer("starkeel_db").start_span(
        f"receive {event.kind}",
        kind=SpanKind.CONSUMER,
        attributes={
            "messaging.operation.name": "receive",
            "messaging.operation.type": "receive",
            "messaging.destination.name": "outbox",
            "messaging.message.id": str(event.position),
        },
        links=[Link(origin)] if origin.is_valid else [],
    ).end()
