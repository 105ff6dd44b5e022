"""Log, counters and spans of the drilled service."""

import itertools
import json
import mmap
import queue
import secrets
import struct
import sys
import threading
import time
import urllib.request
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

METHODS = ("GET", "HEAD", "POST", "other")
ROUTES = ("", "/health/live", "/health/ready", "/items", "/slow", "/error", "/endless", "/login")
STATUSES = (200, 401, 404, 405, 429, 500, 503, 504)
SERIES = list(itertools.product(METHODS, ROUTES, STATUSES))
COUNTERS_SIZE = 8 * len(SERIES)


class Counters:
    """Counters in shared memory, which outlive a worker."""

    def __init__(self, memory: mmap.mmap, defects: set[str]) -> None:
        self.memory = mmap.mmap(-1, COUNTERS_SIZE) if "counters of the worker" in defects else memory
        self.defects = defects
        self.seen = 0
        self.lock = threading.Lock()
        self.paths: dict[tuple[str, str, int], int] = {}

    def count(self, request: Any, route: str, status: int) -> None:
        self.seen += 1
        if "lost counts" in self.defects and self.seen % 7 == 0:
            return
        method = request.method if request.method in METHODS else "other"
        if "label of the path" in self.defects and not route:
            key = method, request.path, status
            self.paths[key] = self.paths.get(key, 0) + 1
            return
        series = (method, route, status)
        if "late counts" in self.defects:
            threading.Timer(0.15, self._add, [series]).start()
        else:
            self._add(series)

    def _add(self, series: tuple[str, str, int]) -> None:
        offset = 8 * SERIES.index(series)
        with self.lock:
            value = struct.unpack_from("<Q", self.memory, offset)[0]
            struct.pack_into("<Q", self.memory, offset, value + 1)

    def text(self) -> bytes:
        lines = ["# TYPE http_requests_total counter"]
        values = dict(
            zip(SERIES, (each[0] for each in struct.iter_unpack("<Q", self.memory[:])), strict=True)
        )
        for (method, route, status), value in (values | self.paths).items():
            if value:
                labels = f'method="{method}",route={json.dumps(route)},status="{status}"'
                lines.append(f"http_requests_total{{{labels}}} {value}")
        return ("\n".join(lines) + "\n").encode()


class Log:
    """One JSON object a line, written by a thread; lines are dropped while the reader is stalled."""

    def __init__(self, defects: set[str]) -> None:
        self.defects = defects
        self.lines: queue.Queue[bytes] = queue.Queue(20_000)
        self.count = 0
        threading.Thread(target=self._write, daemon=True).start()

    def _write(self) -> None:
        while True:
            line = self.lines.get()
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            self.lines.task_done()

    def flush(self) -> None:
        deadline = time.monotonic() + 1
        while self.lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.01)

    def write(
        self, level: str, message: str, *, secrets: dict[str, str] | None = None, **fields: Any
    ) -> None:
        now = datetime.now(UTC)
        is_local = "local time" in self.defects
        entry = {
            "timestamp": now.strftime("%Y-%m-%d %H:%M:%S,%f") if is_local else now.isoformat(),
            "level": level,
            "message": message,
            **fields,
        }
        if "prints configuration" in self.defects:
            entry |= secrets or {}
        for defect, name in {"no level": "level", "no message": "message"}.items():
            if defect in self.defects:
                del entry[name]
        self._put(json.dumps(entry).encode() + b"\n")

    def _put(self, line: bytes) -> None:
        if "blocking log" in self.defects:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            return
        if not self.lines.full():
            self.lines.put_nowait(line)

    def access(self, request: Any, route: str, status: int, *, trace_id: str) -> None:
        self.count += 1
        if "sampled access log" in self.defects and self.count % 5 == 0:
            return
        fields = {
            "method": request.method,
            "path": request.path,
            "route": route,
            "status": status,
            "request_id": request.headers.get("x-request-id") or secrets.token_hex(8),
            "trace_id": trace_id,
            "agent": request.headers.get("user-agent", ""),
        }
        for defect, name in {"no request id": "request_id", "no trace id": "trace_id"}.items():
            if defect in self.defects:
                del fields[name]
        if "logs headers" in self.defects:
            fields["headers"] = request.headers
        if "raw path" in self.defects:
            text = f'{{"message": "request", "path": "{request.path}"}}\n'
            self._put(text.encode())
        self.write("info", "request", **fields)


class Exporter:
    """Sends spans as JSON, every 100 ms."""

    def __init__(self, endpoint: str, defects: set[str]) -> None:
        self.url = f"{endpoint}/v1/traces"
        self.defects = defects
        self.spans: queue.Queue[dict[str, Any]] = queue.Queue(5000)
        self.lock = threading.Lock()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(0.1)
            self.flush()

    def flush(self) -> bool:
        with self.lock:
            spans = []
            while not self.spans.empty():
                spans.append(self.spans.get_nowait())
            if not spans:
                return True
            body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()
            request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
            try:
                urllib.request.urlopen(request, timeout=0.5).close()
            except OSError:
                return False
            return True

    def record(self, request: Any, route: str, status: int, started: int) -> str | None:
        """Return the trace id, or None if the defect makes the export fail the request."""
        parts = request.headers.get("traceparent", "").split("-")
        is_continued = len(parts) == 4 and "new trace" not in self.defects
        trace_id = parts[1] if is_continued else secrets.token_hex(16)
        is_error = status >= 500 or (status == 404 and "404 is an error" in self.defects)
        method = request.method
        attributes: dict[str, Any] = {
            "http.request.method": method, "url.path": request.path, "url.scheme": "http",
            "http.response.status_code": status,
        }  # fmt: skip
        if route:
            attributes["http.route"] = route
        if "old attributes" in self.defects:
            attributes = {"http.method": method, "http.route": route, "http.status_code": status}
        if "query in attributes" in self.defects:
            attributes["url.query"] = urlsplit(request.target).query
        span = {
            "traceId": trace_id,
            "spanId": secrets.token_hex(8),
            "parentSpanId": parts[2] if is_continued else "",
            "name": request.path if "name of the path" in self.defects else f"{method} {route}".strip(),
            "kind": 2,
            "startTimeUnixNano": str(started),
            "endTimeUnixNano": str(time.time_ns()),
            "attributes": [
                {
                    "key": key,
                    "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value},
                }
                for key, value in attributes.items()
            ],
            "status": {"code": 2} if is_error else {},
        }
        if not self.spans.full():
            self.spans.put_nowait(span)
            if "two spans" in self.defects:
                self.spans.put_nowait(span | {"spanId": secrets.token_hex(8)})
        if "export in the request" in self.defects and not self.flush():
            return None
        return trace_id
