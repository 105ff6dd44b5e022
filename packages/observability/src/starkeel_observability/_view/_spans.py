"""Spans that several services told of, put together to requests."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True):
    """Something that happened during a span."""

    at_ns: int
    name: str
    attributes: dict[str, Any]


class SeenSpan(msgspec.Struct, frozen=True):
    """A span, as `/traces` tells of it."""

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
    events: list[Event]

    @property
    def duration_ns(self) -> int:
        """How long it took."""
        return self.end_ns - self.start_ns

    @property
    def is_failed(self) -> bool:
        """Whether it ended in an error."""
        return self.status == "error"


class WorkerSpans(msgspec.Struct, frozen=True):
    """What one worker said, or why it did not."""

    index: int
    spans: list[SeenSpan] = []
    error: str | None = None


class Told(msgspec.Struct, frozen=True):
    """The page `/traces` of one service."""

    workers: list[WorkerSpans]


class Row(msgspec.Struct, frozen=True):
    """A span in its place: below the one that caused it, beside others that this one caused."""

    span: SeenSpan
    depth: int
    guides: str
    """What stands before its name: the branches that lead to it."""


class Request(msgspec.Struct, frozen=True):
    """A request with all that it caused, in every service that was asked."""

    root: SeenSpan
    rows: list[Row]

    @property
    def is_failed(self) -> bool:
        """Whether it ended in an error."""
        return self.root.is_failed

    @property
    def rank(self) -> tuple[bool, bool, int]:
        """What to look at first is least: what failed, then what took long without being a stream."""
        return (not self.is_failed, "starkeel.is_stream" in self.root.attributes, -self.root.duration_ns)

    @property
    def end_ns(self) -> int:
        """When the last of it was over."""
        return max(row.span.end_ns for row in self.rows)


def requests(spans: Iterable[SeenSpan]) -> list[Request]:
    """Put spans together: the failed first, the slowest first among them.

    Args:
        spans: Of any services, in any order.
    """
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
    return sorted(found, key=lambda request: request.rank)


def _rows(root: SeenSpan, children: dict[tuple[str, str], list[SeenSpan]]) -> Iterator[Row]:
    """A span and all below it, each before what it caused; without recursion, as depth is anybody's."""
    waiting = [(root, 0, "", "")]
    while waiting:
        span, depth, guides, below = waiting.pop()
        yield Row(span, depth, guides)
        caused = sorted(
            children.get((span.trace_id, span.span_id), ()), key=lambda child: child.start_ns, reverse=True
        )
        for place, child in enumerate(caused):
            # The last one comes first here.
            branch, rest = ("└ ", "  ") if place == 0 else ("├ ", "│ ")
            waiting.append((child, depth + 1, below + branch, below + rest))
