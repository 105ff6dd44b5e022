"""In-memory store of the slowest and failed requests of the last minute, for `just traces` in development."""

import heapq
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from itertools import count
from typing import Any, Final

from opentelemetry.trace import StatusCode

from .span import OnEnd, RecordedSpan

_KEPT_S: Final = 60
_MAX_PER_SECOND: Final = 50
_MAX_OPEN: Final = 1000
_MAX_SPANS: Final = 200
_MAX_SHOWN: Final = 1000

Rank = tuple[bool, int]
"""Whether the request failed, and its duration in nanoseconds; the greatest are kept."""
_Kept = tuple[Rank, int, list[RecordedSpan]]


class RecentTraces:
    """Passes spans that have ended to `on_end`, and keeps, for each second, those of the highest rank."""

    def __init__(self, service: str, on_end: OnEnd) -> None:
        self._service = service
        self._on_end = on_end
        self._lock = threading.Lock()
        self._number = count()
        # Spans that ended before their request, or after it.
        self._open: OrderedDict[int, list[RecordedSpan]] = OrderedDict()
        self._seconds: deque[tuple[int, list[_Kept]]] = deque(maxlen=_KEPT_S + 1)

    def take(self, span: RecordedSpan) -> None:
        self._on_end(span)
        with self._lock:
            if span.parent_id and not span.is_parent_remote:
                self._hold(span)
            else:
                self._keep(span, [span, *self._open.pop(span.trace_id, ())])

    def dump(self, _parameters: Mapping[str, str]) -> dict[str, Any]:
        """Return the kept spans, for the admin port's `/traces`."""
        since = time.monotonic() - _KEPT_S
        with self._lock:
            kept = [item for second, items in self._seconds if second >= since for item in items]
            best = heapq.nlargest(_MAX_SHOWN, kept)
            spans = [span for _, _, spans in best for span in spans]
            late = [span for trace in {s.trace_id for s in spans} for span in self._open.get(trace, ())]
        return {"spans": [_fields(span, self._service) for span in (*spans, *late)]}

    def _hold(self, span: RecordedSpan) -> None:
        spans = self._open.setdefault(span.trace_id, [])
        if len(spans) < _MAX_SPANS:
            spans.append(span)
        if len(self._open) > _MAX_OPEN:
            self._open.popitem(last=False)

    def _keep(self, root: RecordedSpan, spans: list[RecordedSpan]) -> None:
        second = int(time.monotonic())
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, []))
        kept = self._seconds[-1][1]
        # The client decides how long a stream takes: it is not slow.
        took_ns = 0 if "starkeel.is_stream" in root.attributes else root.end_ns - root.start_ns
        item = ((root.status is StatusCode.ERROR, took_ns), next(self._number), spans)
        if len(kept) < _MAX_PER_SECOND:
            heapq.heappush(kept, item)
        else:
            heapq.heappushpop(kept, item)


def _fields(span: RecordedSpan, service: str) -> dict[str, Any]:
    return {
        "trace_id": f"{span.trace_id:032x}",
        "span_id": f"{span.span_id:016x}",
        "parent_id": f"{span.parent_id:016x}" if span.parent_id else "",
        "service": service,
        "name": span.name,
        "kind": span.kind.name.lower(),
        "start_ns": span.start_ns,
        "end_ns": span.end_ns,
        "status": span.status.name.lower(),
        "attributes": span.attributes,
        "events": [
            {"at_ns": at_ns, "name": name, "attributes": attributes}
            for at_ns, name, attributes, _ in span.events or ()
        ],
    }
