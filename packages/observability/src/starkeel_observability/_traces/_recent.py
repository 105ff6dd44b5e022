"""The slowest and failed requests of the last minute, kept in memory in development, for `just traces`."""

import heapq
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any, Final

from opentelemetry.trace import StatusCode

from ._recorded import Finished, RecordedSpan

_KEPT_S: Final = 60
_MOST_A_SECOND: Final = 50
_MOST_OPEN: Final = 1000
_MOST_SPANS: Final = 200
_MOST_TOLD: Final = 1000

Rank = tuple[bool, int]
"""Whether it failed, and nanoseconds it took: what is worth more is greater."""
_Kept = tuple[Rank, int, list[RecordedSpan]]


class RecentTraces:
    """Takes spans that have ended, and keeps what of each second is most worth looking at.

    Args:
        service: Whose spans they are.
        passed_on: Called with every span as well.
    """

    def __init__(self, service: str, passed_on: Finished) -> None:
        self._service = service
        self._passed_on = passed_on
        self._lock = threading.Lock()
        self._number = count()
        # Spans of requests that have not ended, or that ended after theirs.
        self._open: OrderedDict[int, list[RecordedSpan]] = OrderedDict()
        self._seconds: deque[tuple[int, list[_Kept]]] = deque(maxlen=_KEPT_S + 1)

    def take(self, span: RecordedSpan) -> None:
        """Take a span that has ended."""
        self._passed_on(span)
        with self._lock:
            if span.parent_id and not span.is_parent_remote:
                self._hold(span)
            else:
                self._keep(span, [span, *self._open.pop(span.trace_id, ())])

    def told(self, _given: Mapping[str, str]) -> dict[str, Any]:
        """What is kept, as an inquiry answers it."""
        since = time.monotonic() - _KEPT_S
        with self._lock:
            kept = [one for second, ones in self._seconds if second >= since for one in ones]
            best = heapq.nlargest(_MOST_TOLD, kept)
            spans = [span for _, _, spans in best for span in spans]
            late = [span for trace in {s.trace_id for s in spans} for span in self._open.get(trace, ())]
        return {"spans": [_told(span, self._service) for span in (*spans, *late)]}

    def _hold(self, span: RecordedSpan) -> None:
        spans = self._open.setdefault(span.trace_id, [])
        if len(spans) < _MOST_SPANS:
            spans.append(span)
        if len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)

    def _keep(self, root: RecordedSpan, spans: list[RecordedSpan]) -> None:
        second = int(time.monotonic())
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, []))
        kept = self._seconds[-1][1]
        # What lasts as long as its client wants to is not slow.
        took_ns = 0 if "starkeel.is_stream" in root.attributes else root.end_ns - root.start_ns
        one = ((root.status is StatusCode.ERROR, took_ns), next(self._number), spans)
        if len(kept) < _MOST_A_SECOND:
            heapq.heappush(kept, one)
        else:
            heapq.heappushpop(kept, one)


def _told(span: RecordedSpan, service: str) -> dict[str, Any]:
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
        "events": list(_events(span)),
    }


def _events(span: RecordedSpan) -> Iterator[dict[str, Any]]:
    for at, name, attributes, _ in span.events or ():
        yield {"at_ns": at, "name": name, "attributes": attributes}
