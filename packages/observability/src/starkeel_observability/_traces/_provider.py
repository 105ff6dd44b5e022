"""Who makes spans and sends them, for a whole process."""

import importlib
import os
import platform
import socket
from collections.abc import Mapping
from importlib.metadata import version
from threading import Thread
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog
from opentelemetry import trace

from starkeel_observability._settings import GRPC_EXPORTER, ObservabilitySettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.sdk.trace.sampling import Sampler

log = structlog.get_logger(__name__)


class Tracing:
    """The tracer provider of a process, unless the application has installed one of its own.

    Args:
        settings: Where spans are sent, and which.
    """

    def __init__(self, settings: ObservabilitySettings) -> None:
        self._settings = settings
        self._provider: TracerProvider | None = None

    def start(self) -> None:
        """Install the provider."""
        if self._settings.sdk_disabled or has_provider():
            return
        self._provider = _provider(self._settings)
        trace.set_tracer_provider(self._provider)

    def stop(self, *, timeout_s: float) -> None:
        """Send what has not been sent.

        Args:
            timeout_s: Seconds it may take; a collector that does not answer is left alone then.
        """
        provider, self._provider = self._provider, None
        if provider is None:
            return
        # The SDK's own way waits as long as it pleases; its thread does not keep the process.
        flushing = Thread(target=provider.shutdown, name="flush-spans", daemon=True)
        flushing.start()
        flushing.join(timeout_s)
        if flushing.is_alive():
            log.warning("spans not sent in time", timeout_s=round(timeout_s, 3))


def has_provider() -> bool:
    """Whether a tracer provider is installed."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _provider(settings: ObservabilitySettings) -> "TracerProvider":
    # Imported here: a process that makes no spans does not pay for it.
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(
        sampler=_sampler(settings), resource=Resource(_attributes(settings)), shutdown_on_exit=False
    )
    url = settings.traces_url
    if url is not None:
        processor = BatchSpanProcessor(
            _exporter(settings, url),
            max_queue_size=settings.bsp_max_queue_size,
            schedule_delay_millis=settings.bsp_schedule_delay_ms,
            max_export_batch_size=settings.bsp_max_export_batch_size,
        )
        provider.add_span_processor(processor)
    return provider


def _exporter(settings: ObservabilitySettings, url: str) -> "SpanExporter":
    headers, timeout_s = settings.collector_headers(), settings.otlp_timeout_ms / 1000
    if settings.otlp_protocol == "grpc":
        # Named by a text: its types are there only where the extra is.
        module: Any = importlib.import_module(f"{GRPC_EXPORTER}.trace_exporter")
        exporter: SpanExporter = module.OTLPSpanExporter(
            endpoint=url, insecure=url.startswith("http:"), headers=tuple(headers.items()), timeout=timeout_s
        )
        return exporter
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(
        endpoint=url, headers=headers, timeout=timeout_s, compression=Compression.NoCompression
    )


def _sampler(settings: ObservabilitySettings) -> "Sampler":
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased

    name = settings.traces_sampler.removeprefix("parentbased_")
    root: Sampler = ALWAYS_ON
    if name == "always_off":
        root = ALWAYS_OFF
    elif name == "traceidratio":
        root = TraceIdRatioBased(settings.traces_sampler_arg)
    return ParentBased(root) if settings.traces_sampler.startswith("parentbased_") else root


def _attributes(settings: ObservabilitySettings) -> Mapping[str, str | int]:
    return {
        "service.version": settings.version,
        "service.instance.id": str(uuid4()),
        "deployment.environment.name": settings.environment,
        "host.name": socket.gethostname(),
        "process.pid": os.getpid(),
        "process.runtime.name": platform.python_implementation().lower(),
        "process.runtime.version": platform.python_version(),
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": version("opentelemetry-sdk"),
        **dict(settings.resource_attributes.pairs),
        "service.name": settings.service_name,
    }
