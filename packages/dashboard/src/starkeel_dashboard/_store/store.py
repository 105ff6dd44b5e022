"""Everything that was received."""

import time
from collections.abc import Iterable

import msgspec

from .changes import Changes
from .limits import Allowance, Limits
from .logs import LogStore
from .metrics import MetricStore
from .reader import TRACE_ID
from .records import ERROR, LogRecord, SpanRecord
from .requests import RequestStats
from .spans import SpanStore

_MAX_SERVICES = 200
_OTHERS = "(other services)"


class Sign(msgspec.Struct):
    """The last that was received from a service."""

    at_s: float
    """Seconds since 1970."""
    error: str = ""
    error_at_s: float = 0.0
    error_trace_id: bytes = b""


class Store:
    """Spans, log records and metrics of all services.

    Args:
        limits: Bounds of the memory and of the rate.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.spans = SpanStore(limits.span_bytes)
        self.logs = LogStore(limits.log_bytes)
        self.metrics = MetricStore(limits.series)
        self.requests = RequestStats()
        self.changes = Changes()
        self.signs: dict[str, Sign] = {}
        self.shed_spans = 0
        """Spans that were dropped because too many arrived in a second."""
        self.shed_logs = 0
        """Log records that were dropped for the same reason."""
        self.refused_requests = 0
        """Requests of senders that were refused, because too many bodies were being received."""
        self._span_allowance = Allowance(limits.records_per_s)
        self._log_allowance = Allowance(limits.records_per_s)

    def add_spans(self, spans: Iterable[SpanRecord], count: int) -> int:
        """Keep spans; return how many were dropped because there are too many in this second.

        Args:
            spans: Spans, created as they are taken.
            count: Their number.
        """
        accepted = self._span_allowance.take(count, at_s=time.monotonic())
        now_s = time.time()
        for _, span in zip(range(accepted), spans, strict=False):
            if span.trace_id == TRACE_ID or not self.spans.add(span):
                continue
            self.requests.add(span, now_s=now_s)
            sign = self._sign(span.service, now_s)
            if span.is_failed and span.is_root_like:
                sign.error, sign.error_at_s = f"{span.route} {span.status or ''}".strip(), now_s
                sign.error_trace_id = span.trace_id
        self.shed_spans += count - accepted
        self.changes.notify()
        return count - accepted

    def add_logs(self, records: Iterable[LogRecord], count: int) -> int:
        """Keep log records; return how many were dropped because there are too many in this second.

        Args:
            records: Records, created as they are taken.
            count: Their number.
        """
        accepted = self._log_allowance.take(count, at_s=time.monotonic())
        now_s = time.time()
        for _, record in zip(range(accepted), records, strict=False):
            if record.trace_id == TRACE_ID:
                continue
            self.logs.add(record)
            sign = self._sign(record.service, now_s)
            if record.severity >= ERROR:
                sign.error, sign.error_at_s = record.message[:500], now_s
                sign.error_trace_id = record.trace_id
        self.shed_logs += count - accepted
        self.changes.notify()
        return count - accepted

    def seen(self, service: str) -> None:
        """Record that a service has sent something."""
        self._sign(service, time.time())

    def _sign(self, service: str, now_s: float) -> Sign:
        if service not in self.signs and len(self.signs) >= _MAX_SERVICES:
            service = _OTHERS
        sign = self.signs.get(service)
        if sign is None:
            sign = self.signs[service] = Sign(now_s)
        sign.at_s = now_s
        return sign
