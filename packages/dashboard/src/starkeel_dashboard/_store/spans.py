"""Spans by trace, the oldest trace removed first."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

import msgspec

from .records import SpanRecord

_TRACE_OVERHEAD_BYTES: Final = 400
_MAX_SPANS_PER_TRACE: Final = 5000


class Trace(msgspec.Struct):
    """The spans of a trace that have arrived."""

    trace_id: bytes
    root: SpanRecord
    """The span without a parent, else the earliest."""
    by_id: dict[bytes, SpanRecord] = {}
    size_bytes: int = _TRACE_OVERHEAD_BYTES

    @property
    def spans(self) -> list[SpanRecord]:
        """Return the spans in the order of their arrival."""
        return list(self.by_id.values())

    @property
    def is_failed(self) -> bool:
        """Return whether any of its spans failed."""
        return any(span.is_failed for span in self.by_id.values())

    @property
    def services(self) -> list[str]:
        """Return the names of its services, in the order of their first span."""
        return list(
            dict.fromkeys(span.service for span in sorted(self.spans, key=lambda span: span.start_ns))
        )


class SpanStore:
    """Spans by trace.

    Args:
        max_bytes: Bytes that the spans may take; the trace that arrived first is removed first.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._traces: OrderedDict[bytes, Trace] = OrderedDict()
        self._size_bytes = 0
        self.received = 0
        """Spans since the start."""
        self.removed = 0
        """Spans that newer ones have replaced."""
        self.refused = 0
        """Spans of traces that have too many."""

    def add(self, span: SpanRecord) -> bool:
        """Keep a span, and remove the oldest traces if there is no room.

        Returns whether it is new: a sender that got no response sends it again.
        """
        trace = self._traces.get(span.trace_id)
        if trace is None:
            trace = self._traces[span.trace_id] = Trace(span.trace_id, span)
            self._size_bytes += _TRACE_OVERHEAD_BYTES
        elif span.span_id in trace.by_id:
            return False
        self.received += 1
        if len(trace.by_id) >= _MAX_SPANS_PER_TRACE:
            self.refused += 1
            return True
        trace.by_id[span.span_id] = span
        if _precedes(span, trace.root):
            trace.root = span
        trace.size_bytes += span.size_bytes
        self._size_bytes += span.size_bytes
        while self._size_bytes > self._max_bytes and len(self._traces) > 1:
            self._remove_oldest()
        return True

    def _remove_oldest(self) -> None:
        _, trace = self._traces.popitem(last=False)
        self._size_bytes -= trace.size_bytes
        self.removed += len(trace.by_id)

    def get(self, trace_id: bytes) -> Trace | None:
        """Return a trace; `None` if it is not kept."""
        return self._traces.get(trace_id)

    def newest_first(self) -> Iterator[Trace]:
        """Yield the traces in the order of their arrival, the newest first."""
        return iter(list(reversed(self._traces.values())))

    @property
    def count(self) -> int:
        """Return the number of spans that are kept."""
        return self.received - self.removed - self.refused

    @property
    def size_bytes(self) -> int:
        """Return the bytes that the spans take, approximately."""
        return self._size_bytes


def _precedes(span: SpanRecord, root: SpanRecord) -> bool:
    """Return whether a span is the better root: one without a parent, or the earlier."""
    if bool(span.parent_id) != bool(root.parent_id):
        return not span.parent_id
    return span.start_ns < root.start_ns
