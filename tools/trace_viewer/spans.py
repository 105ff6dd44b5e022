"""Spans of several services, grouped by request."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec


class SpanEvent(msgspec.Struct, frozen=True):
    """Event of a span."""

    at_ns: int
    name: str
    attributes: dict[str, Any]


class SeenSpan(msgspec.Struct, frozen=True):
    """A span as `/traces` returns it."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    status: str
    attributes: dict[str, Any]
    events: list[SpanEvent]

    @property
    def duration_ns(self) -> int:
        return self.end_ns - self.start_ns

    @property
    def is_failed(self) -> bool:
        return self.status == "error"


class WorkerSpans(msgspec.Struct, frozen=True):
    """Response of one worker, or the reason why there is none."""

    index: int
    spans: list[SeenSpan] = []
    error: str | None = None


class TracesPage(msgspec.Struct, frozen=True):
    """Response of `/traces`."""

    workers: list[WorkerSpans]


class Row(msgspec.Struct, frozen=True):
    """A span in the tree of its request."""

    span: SeenSpan
    depth: int
    guides: str
    """Tree branches printed before the name."""


class Request(msgspec.Struct, frozen=True):
    """A root span and its descendants."""

    root: SeenSpan
    rows: list[Row]


def group_requests(spans: Iterable[SeenSpan]) -> list[Request]:
    """Group spans, in any order, by request: failed ones first, streams last, then by descending duration."""
    known = {(span.trace_id, span.span_id): span for span in spans}
    children: dict[tuple[str, str], list[SeenSpan]] = {}
    roots = []
    for span in known.values():
        parent = (span.trace_id, span.parent_id)
        if parent in known:
            children.setdefault(parent, []).append(span)
        else:
            roots.append(span)
    found = [Request(root, list(_rows(root, children))) for root in roots]
    return sorted(found, key=lambda request: _rank(request.root))


def _rank(root: SeenSpan) -> tuple[bool, bool, int]:
    return (not root.is_failed, "starkeel.is_stream" in root.attributes, -root.duration_ns)


def _rows(root: SeenSpan, children: dict[tuple[str, str], list[SeenSpan]]) -> Iterator[Row]:
    """Yield a span and its descendants in preorder; without recursion, as the depth is unbounded."""
    waiting = [(root, 0, "", "")]
    while waiting:
        span, depth, guides, below = waiting.pop()
        yield Row(span, depth, guides)
        latest_first = sorted(
            children.get((span.trace_id, span.span_id), ()), key=lambda child: child.start_ns, reverse=True
        )
        for place, child in enumerate(latest_first):
            branch, rest = ("└ ", "  ") if place == 0 else ("├ ", "│ ")
            waiting.append((child, depth + 1, below + branch, below + rest))
