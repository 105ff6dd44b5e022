"""Batches finished requests and reports their metrics, spans and log lines together, at half the cost."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, Final

import structlog
from opentelemetry.trace import SpanContext
from starkeel_asgi import Exchange

from .._logs import access_line
from .._logs.sink import ACCESS_LOGGER
from .._metrics.http import HttpMetrics
from .._request.labels import OTHER
from .._request.request import (
    HEALTH,
    LONGEST_HEADER,
    are_plain,
    clock_offset_ns,
    host_of,
    is_plain,
    method_label,
    target_of,
)
from .._request.request_record import (
    ClientInfo,
    CompletableSpan,
    RequestExtras,
    RequestRecord,
    RequestTemplate,
    SlowPathResult,
)
from .._traces import request_span, server_span
from .._traces.server_span import ServerSpan
from .._traces.tracer import ShouldSample, unless_parent_unsampled

_MAX_TEMPLATES: Final = 1024
_MAX_CLIENTS: Final = 4096
_NO_EXTRAS: Final = RequestExtras({}, None, None, None)
_template_of, _path_of, _end_of, _extras_of = map(itemgetter, (0, 2, 4, 8))

log = structlog.get_logger(__name__)
access_log = structlog.get_logger(ACCESS_LOGGER)


class RequestBatcher:
    """Collects records of finished requests and reports them on `flush`.

    Args:
        metrics: HTTP metrics.
        route_of: Returns the route that a request matches apart from its method.
    """

    def __init__(self, metrics: HttpMetrics, route_of: Callable[[Exchange], str | None]) -> None:
        self._metrics = metrics
        self._route_of = route_of
        self._records: list[RequestRecord] = []
        # One look-up per request replaces the encoding of all that they contain.
        self._templates: dict[tuple[Any, ...], RequestTemplate] = {}
        self._clients: dict[tuple[str | None, bytes | None], ClientInfo] = {}
        self._needs_requests = False

    def require_span_objects(self, *, is_needed: bool) -> None:
        """Set whether a span object is needed for every request, not only its encoded form."""
        if is_needed is not self._needs_requests:
            self._needs_requests = is_needed
            self._templates.clear()

    def enable_batching(self) -> None:
        self.flush()
        self._records = []

    def disable_batching(self) -> None:
        self.flush()
        self._records = _UnbatchedRecords(self.flush)

    def flush(self) -> None:
        records = self._records[:]
        self._records.clear()
        if not records:
            return
        batch = _Batch()
        fast, slow = records, []
        if any(map(_extras_of, records)):
            fast = [record for record in records if record[8] is None]
            slow = [record for record in records if record[8] is not None]
        if batch.renders_lines and are_plain(list(map(_path_of, fast))):
            batch.add_fast(fast)
        else:
            slow = records
        for record in slow:
            with _logged("request not reported"):
                self._add_slow(record, batch)
        if slow:
            batch.lines.sort(key=_end_of)
        batch.report(self._metrics)

    def add(
        self,
        request: Exchange,
        route: str | None,
        span: CompletableSpan | None,
        bound: Mapping[str, Any],
        result: SlowPathResult | None = None,
    ) -> None:
        """Add the record of a finished request; see `RequestExtras` for the last three arguments."""
        method, path, _, peer, scheme, version, _ = request.facts
        headers = request.headers
        host = headers.get(b"host")
        status = request.status if result is None else result.status
        try:
            template = self._templates.get(
                (method, route, status, scheme, version, host or target_of(request))
            )
            if template is None:
                template = self._create_template(request, route, status)
            client_key = peer and peer[0], headers.get(b"user-agent")
            client = self._clients.get(client_key) or self._create_client(client_key)
        except Exception:
            log.exception("request not reported")
            return
        extras = None
        if not template.is_fast or bound or span is not None or result is not None:
            kept = request if template.needs_request or span is not None else None
            extras = RequestExtras(bound, span, kept, result)
        began, ended, sent_bytes = request.received_ns, request.ended_ns, request.sent_bytes
        self._records.append(
            (template, client, path, began, ended, sent_bytes, request.ids, request.id, extras)
        )

    def _add_slow(self, record: RequestRecord, batch: "_Batch") -> None:
        template, client, path, began, ended, sent_bytes, ids, request_id, extras = record
        bound, span, request, result = extras or _NO_EXTRAS
        if result is None and path.startswith(HEALTH):
            access_line.log_request(access_log.debug, record, b"", bound)
            result = SlowPathResult(template.key[2], b"", is_sampled=False, needs_line=False)
        elif result is None and request is not None:
            result = batch.end_span(request, span, record)
        span_path = line_path = path
        if not is_plain(path):
            span_path, line_path = server_span.clean_path(path), access_line.clean_path(path)
        if result is None:
            batch.spans.append((template, client, span_path, began, ended, sent_bytes, ids, request_id, None))
            batch.count((template, client, path, began, ended, sent_bytes, ids, request_id, None))
            needs_line = True
        else:
            _, ids, is_sampled, needs_line = result
            exemplar = ids if is_sampled else b""
            batch.count((template, client, path, began, ended, sent_bytes, exemplar, request_id, _NO_EXTRAS))
        if not needs_line:
            return
        if not batch.renders_lines or access_line.has_conflict(bound):
            access_line.log_request(access_log.info, record, ids, bound)
        else:
            template = access_line.with_bound_fields(template, bound) if bound else template
            batch.lines.append((template, client, line_path, began, ended, sent_bytes, ids, request_id, None))

    def _create_template(self, request: Exchange, route: str | None, status: int) -> RequestTemplate:
        host, matched = host_of(request), route
        is_cached = len(host) <= LONGEST_HEADER
        if route is None and status == 405:
            # Depends on the path, which is not part of the cache key.
            matched, is_cached = self._route_of(request), False
        key = (method_label(request), matched, status)
        needs_request = self._needs_requests or key[0] == OTHER
        template = RequestTemplate(
            key,
            server_span.encode_shared(key, host, target_of(request)),
            access_line.template_parts(key),
            needs_request=needs_request,
            # Paths of a route that begins with a parameter may be health checks.
            is_fast=not needs_request and not (matched or HEALTH).startswith((HEALTH.rstrip("/"), "/{")),
        )
        if is_cached:
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            method, _, _, _, scheme, version, _ = request.facts
            self._templates[method, route, status, scheme, version, host or target_of(request)] = template
        return template

    def _create_client(self, key: tuple[str | None, bytes | None]) -> ClientInfo:
        address, agent = key
        client = ClientInfo(
            address, server_span.encode_client(address, agent), access_line.client_field(address)
        )
        if len(agent or b"") <= LONGEST_HEADER:
            if len(self._clients) >= _MAX_CLIENTS:
                self._clients.clear()
            self._clients[key] = client
        return client


class _UnbatchedRecords(list[RequestRecord]):
    """List that reports each record at once."""

    def __init__(self, flush: Callable[[], None]) -> None:
        super().__init__()
        self._flush = flush

    def append(self, record: RequestRecord, /) -> None:
        super().append(record)
        self._flush()


class _Batch:
    """Records that are reported together."""

    def __init__(self) -> None:
        # One offset for all: reading the clocks costs a system call each.
        self._offset_ns = clock_offset_ns()
        self._templates: set[RequestTemplate] = set()
        self.renders_lines = access_line.is_enabled()
        self.lines: list[RequestRecord] = []
        """Records whose lines are to be rendered."""
        self.spans: list[RequestRecord] = []
        """Records whose spans are to be encoded."""
        tracer = request_span.own_tracer()
        self._output = None if tracer is None else tracer.output
        self._should_sample: ShouldSample = _never if tracer is None else tracer.should_sample

    def add_fast(self, records: list[RequestRecord]) -> None:
        """Add records without extras and with plain paths."""
        templates = set(map(_template_of, records))
        self._templates |= templates
        if len(templates) == 1:
            templates.pop().pending += records
        else:
            for record in records:
                record[0].pending.append(record)
        self.spans += records
        self.lines += records

    def count(self, record: RequestRecord) -> None:
        """Add a record to the metrics; one with extras has ids only if its trace is sampled."""
        template = record[0]
        self._templates.add(template)
        template.pending.append(record)

    def end_span(
        self, request: Exchange, span: CompletableSpan | None, record: RequestRecord
    ) -> SlowPathResult | None:
        """Complete the span object of a request; creates one if necessary and sampled."""
        if span is None and self._output is not None and self._should_sample(None, request.ids):
            span = ServerSpan(self._output, request, request.ids)
        if span is None:
            return None
        key = record[0].key
        if span.complete(key, None, (record[3] + self._offset_ns, record[4] + self._offset_ns)):
            span.export()
        return SlowPathResult(key[2], span.ids, is_sampled=True, needs_line=True)

    def report(self, metrics: HttpMetrics) -> None:
        """Update the metrics, export the spans and write the lines."""
        should_sample, output = self._should_sample, self._output
        for template in self._templates:
            pending, template.pending = template.pending, []
            with _logged("requests not counted"):
                # Without batching, another thread may have counted them.
                if pending:
                    metrics.observe(template.key, pending, should_sample)
        spans = self.spans
        if output is not None and output.put_encoded is not None:
            with _logged("spans not exported"):
                if should_sample is not unless_parent_unsampled:
                    spans = [record for record in spans if should_sample(None, record[6])]
                output.put_encoded(output.scope, server_span.encode_records(spans, self._offset_ns))
        with _logged("access log lines not written"):
            access_line.write(self.lines, self._offset_ns)


@contextmanager
def _logged(failure: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        log.exception(failure)


def _never(_parent: SpanContext | None, _ids: bytes) -> bool:
    return False
