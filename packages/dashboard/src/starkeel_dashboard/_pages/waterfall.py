"""One trace: its spans as a tree with their place in time, its log records, and its root request as curl."""

import shlex
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

import msgspec

from .._decode.spans import SpanDetails, span_details
from .._store.records import KINDS, SERVER, SpanRecord
from .._store.spans import Trace
from .._store.store import Store
from .logs import LogFilter, select, view

_MAX_ROWS: Final = 500
_MAX_DEPTH: Final = 12
_MAX_LOGS: Final = 300


class WaterfallRow(msgspec.Struct):
    """A span in the tree of its trace."""

    span: SpanRecord
    details: SpanDetails
    depth: int
    """0 to 12; deeper spans have 12."""
    left: float
    """Start in percent of the trace's duration."""
    width: float
    """Duration in percent of the trace's."""

    @property
    def kind(self) -> str:
        """Return the kind of the span."""
        return KINDS[self.span.kind]

    @property
    def error(self) -> str:
        """Return the exception or message of a failed span."""
        for event in self.details.events:
            if event.name == "exception":
                kind, text = (event.attributes.get(f"exception.{part}", "") for part in ("type", "message"))
                return f"{kind}: {text}".strip(": ")
        return self.details.message or str(self.details.attributes.get("error.type", ""))

    @property
    def stack(self) -> str:
        """Return the stack trace of its exception."""
        events = (event.attributes.get("exception.stacktrace") for event in self.details.events)
        return next((stack for stack in events if isinstance(stack, str)), "")


def trace_page(store: Store, trace: Trace) -> dict[str, Any]:
    """Return the values of the page of a trace."""
    chosen = LogFilter(trace=trace.trace_id.hex())
    lines = [view(record) for record in islice(select(store, chosen), _MAX_LOGS)]
    return {
        "trace": trace,
        "rows": list(islice(rows(trace), _MAX_ROWS)),
        "hidden": max(0, len(trace.spans) - _MAX_ROWS),
        "lines": sorted(lines, key=lambda line: line.record.time_ns),
        "curl": curl(trace),
        "store": store,
    }


def rows(trace: Trace) -> Iterator[WaterfallRow]:
    """Yield the spans in preorder, children by their start; without recursion, as the depth is unbounded."""
    known = trace.by_id
    children: dict[bytes, list[SpanRecord]] = {}
    roots = []
    for span in known.values():
        if span.parent_id in known and span.parent_id != span.span_id:
            children.setdefault(span.parent_id, []).append(span)
        else:
            roots.append(span)
    start_ns = trace.root.start_ns
    whole_ns = max(1, *(span.start_ns + span.duration_ns - start_ns for span in known.values()))
    waiting = [(span, 0) for span in sorted(roots, key=lambda span: span.start_ns, reverse=True)]
    while waiting:
        span, depth = waiting.pop()
        # Clocks may differ between machines: a span outside the trace is moved to its edge.
        left = 100 * min(max(0, span.start_ns - start_ns), whole_ns) / whole_ns
        width = min(100 * span.duration_ns / whole_ns, 100 - left)
        details = span_details(span)
        yield WaterfallRow(span, details, min(depth, _MAX_DEPTH), min(left, 99.5), max(0.5, width))
        below = sorted(children.get(span.span_id, ()), key=lambda child: child.start_ns, reverse=True)
        waiting += [(child, depth + 1) for child in below]


def curl(trace: Trace) -> str:
    """Return a command that repeats the first request to a service; empty if there is none."""
    requests = [span for span in trace.spans if span.kind == SERVER]
    if not requests:
        return ""
    found = span_details(min(requests, key=lambda span: span.start_ns)).attributes
    method = str(found.get("http.request.method") or found.get("http.method") or "GET")
    url = str(found.get("url.full") or found.get("http.url") or _url(found))
    if not url:
        return ""
    body = (
        " --data '{}' --header 'Content-Type: application/json'" if method in {"POST", "PUT", "PATCH"} else ""
    )
    return f"curl --include --request {shlex.quote(method)} {shlex.quote(url)}{body}"


def _url(found: dict[str, Any]) -> str:
    host = found.get("server.address") or found.get("net.host.name") or found.get("http.host")
    if not host:
        return ""
    port = found.get("server.port") or found.get("net.host.port")
    scheme = found.get("url.scheme") or found.get("http.scheme") or "http"
    path = found.get("url.path") or found.get("http.target") or "/"
    query = f"?{found['url.query']}" if found.get("url.query") else ""
    return f"{scheme}://{host}{f':{port}' if port and ':' not in str(host) else ''}{path}{query}"
