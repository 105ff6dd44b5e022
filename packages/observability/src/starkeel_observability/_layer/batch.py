"""Batches finished requests and reports their metrics, spans and log lines together, at half the cost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from typing import Any, Final

import structlog
from starkeel_asgi import Exchange

from .._logs import access_line
from .._logs.sink import ACCESS_LOGGER
from .._metrics.http import HttpMetrics
from .._request.request import (
    HEALTH,
    LONGEST_HEADER,
    OTHER,
    QUIET,
    ClientInfo,
    RequestExtras,
    RequestRecord,
    RequestTemplate,
    SlowPathResult,
    are_plain,
    clock_offset_ns,
    method_label,
    target_of,
)
from .._traces.server_attributes import clean_path, encode_client, encode_records, encode_shared
from .._traces.span import PutEncoded, discard_encoded
from .._traces.tracer import ShouldSample, Tracer, request_tracer, sampler, unless_parent_unsampled

_MAX_TEMPLATES: Final = 1024
_MAX_CLIENTS: Final = 4096
_NO_EXTRAS: Final = RequestExtras({}, None, None)
_NEVER: Final = sampler("always_off", 0.0)
_template_of, _path_of, _end_of, _extras_of = map(itemgetter, (0, 2, 4, 8))

ClientKey = tuple[str | None, bytes | None]

log = structlog.get_logger(__name__)
access_log = structlog.get_logger(ACCESS_LOGGER)


class RequestBatcher:
    """Holds records of finished requests and reports them on `flush`."""

    def __init__(self, metrics: HttpMetrics) -> None:
        self._metrics = metrics
        self.records: list[RequestRecord] = []
        self.templates: dict[tuple[Any, ...], RequestTemplate] = {}
        """By method, route, status, scheme, HTTP version, and Host header or target: one look-up per request
        replaces the encoding of all that they contain."""
        self.clients: dict[ClientKey, ClientInfo] = {}
        """By IP address and User-Agent header."""
        self._needs_spans = False

    def require_span_objects(self, *, is_needed: bool) -> None:
        """Set whether a span object is needed for every request, not only its encoded form."""
        if is_needed is not self._needs_spans:
            self._needs_spans = is_needed
            self.templates.clear()

    def set_batching(self, *, is_enabled: bool) -> None:
        """Set whether records wait for `flush`."""
        self.flush()
        self.records = [] if is_enabled else _UnbatchedRecords(self.flush)

    def flush(self) -> None:
        records = self.records[:]
        self.records.clear()
        if not records:
            return
        batch = _Batch()
        fast, slow = records, []
        if any(map(_extras_of, records)):
            fast = [record for record in records if record[8] is None]
            slow = [record for record in records if record[8] is not None]
        if batch.is_direct and are_plain(list(map(_path_of, fast))):
            batch.add_fast(fast)
        else:
            slow = records
        for record in slow:
            try:
                batch.add_slow(record)
            except Exception:
                log.exception("request not reported")
        if slow:
            batch.lines.sort(key=_end_of)
        batch.report(self._metrics)

    def create_template(self, exchange: Exchange, route: str | None, status: int) -> RequestTemplate:
        """Create the template for a request; the next requests find it in `templates`."""
        method, _, _, _, scheme, version, _ = exchange.facts
        host, target = exchange.headers.get(b"host", b""), target_of(exchange.facts)
        key = (method_label(method), route, status)
        matched = exchange.route
        is_quiet = matched is not None and status < 400 and bool(matched.handler.opt.get(QUIET))
        template = RequestTemplate(
            key,
            encode_shared(key, host[:LONGEST_HEADER], target),
            access_line.template_parts(key),
            is_fast=not self._needs_spans
            and not is_quiet
            and key[0] != OTHER
            # Paths of a route that begins with a parameter may be health checks.
            and not (route or HEALTH).startswith((HEALTH.rstrip("/"), "/{")),
            is_quiet=is_quiet,
        )
        if len(host) <= LONGEST_HEADER:
            if len(self.templates) >= _MAX_TEMPLATES:
                self.templates.clear()
            self.templates[method, route, status, scheme, version, host or target] = template
        return template

    def create_client(self, key: ClientKey) -> ClientInfo:
        """Create the description of a client; the next requests find it in `clients`."""
        address, agent = key[0], key[1] or b""
        client = ClientInfo(
            address, encode_client(address, agent[:LONGEST_HEADER]), access_line.client_field(address)
        )
        if len(agent) <= LONGEST_HEADER:
            if len(self.clients) >= _MAX_CLIENTS:
                self.clients.clear()
            self.clients[key] = client
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
        self._line_path = access_line.line_path()
        self.is_direct = self._line_path != "structlog"
        """Whether no line is written by structlog."""
        self.lines: list[RequestRecord] = []
        """Records whose lines are to be rendered."""
        self._spans: list[RequestRecord] = []
        """Records whose spans are to be encoded."""
        self._tracer = request_tracer()
        self._should_sample: ShouldSample = _NEVER
        self._put: PutEncoded | None = None
        if isinstance(self._tracer, Tracer):
            self._should_sample, self._put = self._tracer.should_sample, self._tracer.output.put_encoded
        if self._put is discard_encoded:
            self._put = None

    def add_fast(self, records: list[RequestRecord]) -> None:
        """Add records without extras and with plain paths."""
        templates = set(map(_template_of, records))
        self._templates |= templates
        if len(templates) == 1:
            templates.pop().pending += records
        else:
            for record in records:
                record[0].pending.append(record)
        if self._put is not None:
            self._spans += records
        if self._line_path == "rendered":
            self.lines += records

    def add_slow(self, record: RequestRecord) -> None:
        template, client, path, began, ended, sent_bytes, ids, request_id, extras = record
        bound, span, result = extras or _NO_EXTRAS
        if result is None and path.startswith(HEALTH):
            if self._line_path != "none":
                access_line.log_request(access_log.debug, record, b"", bound)
            result = SlowPathResult(template.key[2], b"", is_sampled=False, needs_line=False)
        elif span is not None:
            span.complete(template.key, None, (began + self._offset_ns, ended + self._offset_ns))
            result = SlowPathResult(template.key[2], span.ids, is_sampled=True, needs_line=True)
        span_path = line_path = path
        if not are_plain([path]):
            span_path, line_path = clean_path(path), access_line.clean_path(path)
        if result is None:
            self._spans.append((template, client, span_path, began, ended, sent_bytes, ids, request_id, None))
            self._count((template, client, path, began, ended, sent_bytes, ids, request_id, None))
            needs_line = True
        else:
            _, ids, is_sampled, needs_line = result
            exemplar = ids if is_sampled else b""
            self._count((template, client, path, began, ended, sent_bytes, exemplar, request_id, _NO_EXTRAS))
        if not needs_line or self._line_path == "none":
            return
        if template.is_quiet:
            access_line.log_request(access_log.debug, record, ids, bound)
        elif self._line_path == "structlog" or not access_line.FIELDS.isdisjoint(bound):
            access_line.log_request(access_log.info, record, ids, bound)
        else:
            template = access_line.with_bound_fields(template, bound) if bound else template
            self.lines.append((template, client, line_path, began, ended, sent_bytes, ids, request_id, None))

    def _count(self, record: RequestRecord) -> None:
        """Add a record to the metrics; one with extras has ids only if its trace is sampled."""
        template = record[0]
        self._templates.add(template)
        template.pending.append(record)

    def report(self, metrics: HttpMetrics) -> None:
        """Update the metrics, export the spans and write the lines."""
        should_sample = self._should_sample
        for template in self._templates:
            pending, template.pending = template.pending, []
            with _logged("requests not counted"):
                # Without batching, another thread may have counted them.
                if pending:
                    metrics.observe(template.key, pending, should_sample)
        spans = self._spans
        if self._put is not None and isinstance(self._tracer, Tracer):
            with _logged("spans not exported"):
                if should_sample is not unless_parent_unsampled:
                    spans = [record for record in spans if should_sample(None, record[6])]
                self._put(self._tracer.output.scope, encode_records(spans, self._offset_ns))
        if self.lines:
            with _logged("access log lines not written"):
                access_line.write(self.lines, self._offset_ns)


@contextmanager
def _logged(failure: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        log.exception(failure)
