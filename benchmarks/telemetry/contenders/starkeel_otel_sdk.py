"""`starkeel_telemetry` with spans made and exported by the OpenTelemetry SDK.

Starkeel keeps a tracer provider that the application has installed, so request ids, logs and metrics are
Starkeel's own and only the spans are not.
"""

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

_provider = TracerProvider()
_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
trace.set_tracer_provider(_provider)

from starkeel_telemetry import app  # noqa: E402 - it starts telemetry, which uses an installed provider

__all__ = ["app"]
