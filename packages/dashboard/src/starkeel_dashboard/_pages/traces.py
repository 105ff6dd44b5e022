"""Lists of traces, filtered."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, Literal

import msgspec

from .._decode.spans import span_details
from .._store.records import KINDS, SpanRecord
from .._store.spans import Trace
from .._store.store import Store

Order = Literal["newest", "slowest", "failed"]
_LIMIT: Final = 100
_ORDERS: Final[dict[str, Order]] = {"newest": "newest", "slowest": "slowest", "failed": "failed"}


class TraceFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which traces are shown, and in which order."""

    order: Order = "newest"
    service: str = ""
    route: str = ""
    """Part of the name of a span or of its route."""
    status: str = ""
    """`failed`, a status such as `404`, or a class such as `5xx`."""
    at_least_ms: float = 0.0
    attribute: str = ""
    """`name=value`, or the name of an attribute that a span has."""


def trace_filter(
    *,
    order: str = "newest",
    service: str = "",
    route: str = "",
    status: str = "",
    at_least_ms: str = "",
    attribute: str = "",
) -> TraceFilter:
    """Return the filter of a form; what is not valid counts as not given."""
    try:
        least = float(at_least_ms or 0)
    except ValueError:
        least = 0.0
    return TraceFilter(
        order=_ORDERS.get(order, "newest"),
        service=service,
        route=route,
        status=status,
        at_least_ms=least if 0 < least < 1e12 else 0.0,
        attribute=attribute,
    )


def select(store: Store, chosen: TraceFilter) -> list[Trace]:
    """Return the traces that pass a filter, in its order."""
    found = [trace for trace in store.spans.newest_first() if _passes(trace, chosen)]
    if chosen.order == "slowest":
        found.sort(key=lambda trace: -trace.root.duration_ns)
    elif chosen.order == "failed":
        found.sort(key=lambda trace: (not trace.is_failed, -trace.root.duration_ns))
    return found


def _passes(trace: Trace, chosen: TraceFilter) -> bool:
    if trace.root.duration_ns < chosen.at_least_ms * 1e6:
        return False
    if chosen.service and all(span.service != chosen.service for span in trace.spans):
        return False
    route = chosen.route.lower()
    if route and not any(route in f"{span.route} {span.name} {span.path}".lower() for span in trace.spans):
        return False
    if chosen.status and not _has_status(trace, chosen.status):
        return False
    return not chosen.attribute or any(_has_attribute(span, chosen.attribute) for span in trace.spans)


def _has_status(trace: Trace, status: str) -> bool:
    if status == "failed":
        return trace.is_failed
    if status.endswith("xx"):
        return any(str(span.status)[:1] == status[:1] for span in trace.spans if span.status)
    return any(str(span.status) == status for span in trace.spans)


def _has_attribute(span: SpanRecord, attribute: str) -> bool:
    name, separator, value = (part.strip() for part in attribute.partition("="))
    # Decoding all spans takes long; few contain the name.
    if name.encode() not in span.raw:
        return False
    found = span_details(span).attributes
    return name in found and (not separator or str(found[name]).lower() == value.lower())


def traces_page(store: Store, chosen: TraceFilter) -> dict[str, Any]:
    """Return the values of the page."""
    found = select(store, chosen)
    longest = max((trace.root.duration_ns for trace in found[:_LIMIT]), default=0)
    return {
        "chosen": chosen,
        "traces": found[:_LIMIT],
        "hidden": max(0, len(found) - _LIMIT),
        "longest_ns": max(1, longest),
        "store": store,
    }


def span_rows(store: Store, chosen: TraceFilter, prefix: str, limit: int) -> Iterator[dict[str, Any]]:
    """Yield the spans of some traces as JSON for a terminal.

    Args:
        store: Where the traces are kept.
        chosen: Which traces, and in which order.
        prefix: Beginning of a trace id in hexadecimal; empty for all.
        limit: Number of traces.
    """
    found = (trace for trace in select(store, chosen) if trace.trace_id.hex().startswith(prefix.lower()))
    for trace in islice(found, limit):
        for span in trace.spans:
            details = span_details(span)
            yield {
                "trace_id": span.trace_id.hex(),
                "span_id": span.span_id.hex(),
                "parent_id": span.parent_id.hex(),
                "service": span.service,
                "name": span.name,
                "kind": KINDS[span.kind],
                "start_ns": span.start_ns,
                "end_ns": span.end_ns,
                "status": "error" if span.is_failed else "unset",
                "attributes": details.attributes,
                "events": [
                    {"at_ns": event.time_ns, "name": event.name, "attributes": event.attributes}
                    for event in details.events
                ],
            }
