"""Span exporter: a bounded queue and a background thread that sends batches to a collector."""

import os
import platform
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from itertools import repeat
from typing import Final
from uuid import uuid4

import structlog

from .._config.otel_types import parse_pairs
from .._config.settings import TelemetrySettings
from .._metrics.api import counter, counter_from_zero
from .otlp_encoding import encode_request, encode_resource
from .senders import BACKOFF, ExportResult, GrpcSender, HttpSender, Sender
from .server_span import encode_ended
from .span import InstrumentationScope, RecordedSpan, clean_value

log = structlog.get_logger(__name__)

_WARN_EVERY_S: Final = 60.0
_MIN_TIMEOUT_S: Final = 0.1
_exported: Final = counter("starkeel_spans_exported_total", "Spans that a collector accepted.")
_dropped: Final = counter_from_zero(
    "starkeel_spans_dropped_total",
    "Spans that no collector accepted.",
    "reason",
    ("queue_full", "unavailable", "refused", "rejected"),
)


class Exporter:
    """Queues spans and sends them in the background; `resource` is a result of `encode_resource`."""

    def __init__(self, send: Sender, resource: bytes, settings: TelemetrySettings) -> None:
        self._send = send
        self._resource = resource
        self._max_queue_size = settings.bsp_max_queue_size
        self._max_batch_size = settings.bsp_max_export_batch_size
        self._interval_s = settings.bsp_schedule_delay_ms / 1000
        self._timeout_s = settings.timeout_s
        self._queue: deque[tuple[InstrumentationScope, bytes]] = deque()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._warned_at = 0.0
        self._thread = threading.Thread(target=self._run, name="span-exporter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def take(self, span: RecordedSpan) -> None:
        """Queue a span that has ended; never blocks and never raises."""
        try:
            # Encoded here, not in the thread, so that objects the span refers to can be freed.
            encoded = encode_ended(span)
        except Exception:
            log.exception("span encoding failed")
            return
        self.put(span.output.scope, [encoded])

    def put(self, scope: InstrumentationScope, encoded: list[bytes]) -> None:
        """Queue encoded spans; never blocks."""
        queue = self._queue
        queue.extend(zip(repeat(scope), encoded))
        if len(queue) > self._max_queue_size:
            self._drop_oldest()
        if len(queue) >= self._max_batch_size and not self._wake.is_set():
            self._wake.set()

    def stop(self, *, timeout_s: float) -> bool:
        """Send the queued spans and stop; return False if that took longer than `timeout_s` seconds."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _drop_oldest(self) -> None:
        dropped = 0
        # The sending thread may have removed the last span.
        with suppress(IndexError):
            while len(self._queue) > self._max_queue_size:
                self._queue.popleft()
                dropped += 1
        self._count_dropped("queue_full", dropped)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(self._interval_s)
            self._wake.clear()
            try:
                self._send_queued()
            except Exception:
                # The thread must survive to send the remaining spans.
                log.exception("span export failed")

    def _send_queued(self) -> None:
        # Send what is queued now, in full batches; spans that arrive meanwhile wait for the next interval.
        left = len(self._queue)
        while left > 0 or (self._stopping.is_set() and self._queue):
            batch = self._next_batch()
            left -= max(1, len(batch))
            if batch:
                self._deliver(batch)

    def _next_batch(self) -> list[tuple[InstrumentationScope, bytes]]:
        batch: list[tuple[InstrumentationScope, bytes]] = []
        add, pop = batch.append, self._queue.popleft
        # Without the lock, which a concurrent fork would leave locked in the child.
        with suppress(IndexError):
            for _ in range(self._max_batch_size):
                add(pop())
        return batch

    def _deliver(self, batch: list[tuple[InstrumentationScope, bytes]]) -> None:
        body = encode_request(batch, self._resource)
        until = time.monotonic() + self._timeout_s
        attempt = 0
        while True:
            left_s = max(_MIN_TIMEOUT_S, until - time.monotonic())
            result = self._send(body, timeout_s=left_s)
            if result.rejected > len(batch):
                result = ExportResult(f"{result.rejected} spans rejected, and {len(batch)} sent")
            if result.error is None:
                _exported.inc(len(batch) - result.rejected)
                self._count_dropped("rejected", result.rejected)
                return
            delay_s = BACKOFF.pause_s(attempt) if result.retry_after_s is None else result.retry_after_s
            attempt += 1
            # A requested delay is followed once even if it exceeds the timeout.
            is_first_request = result.retry_after_s is not None and attempt == 1
            is_in_time = is_first_request or time.monotonic() + delay_s < until
            if not (result.is_retryable and is_in_time) or self._stopping.wait(delay_s):
                self._drop_batch(batch, result)
                return

    def _drop_batch(self, batch: list[tuple[InstrumentationScope, bytes]], result: ExportResult) -> None:
        self._count_dropped("unavailable" if result.is_retryable else "refused", len(batch))
        now = time.monotonic()
        if not self._warned_at or now - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = now
            log.warning("spans dropped", count=len(batch), error=result.error)

    def _count_dropped(self, reason: str, count: int) -> None:
        if count > 0:
            _dropped.labels(reason).inc(count)


def create_exporter(settings: TelemetrySettings, url: str) -> Exporter:
    """Create an exporter that sends to a URL."""
    sender = GrpcSender if settings.protocol == "grpc" else HttpSender
    return Exporter(sender(url, settings), encode_resource(_resource_attributes(settings)), settings)


def _resource_attributes(settings: TelemetrySettings) -> Mapping[str, str | int]:
    return {
        "service.version": settings.version,
        "service.instance.id": str(uuid4()),
        "deployment.environment.name": settings.environment,
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
        "process.runtime.name": platform.python_implementation().lower(),
        "process.runtime.version": platform.python_version(),
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "starkeel",
        "telemetry.sdk.version": version("starkeel-observability"),
        **{name: clean_value(name, value) for name, value in parse_pairs(settings.resource_attributes)},
        "service.name": settings.service_name,
    }
