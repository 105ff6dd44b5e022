"""The handler with Litestar's own plugins: Prometheus, OpenTelemetry, structlog."""

import os

from litestar import Litestar
from litestar.plugins.opentelemetry import OpenTelemetryConfig, OpenTelemetryPlugin
from litestar.plugins.prometheus import PrometheusConfig, PrometheusController
from litestar.plugins.structlog import StructlogPlugin
from litestar_bare import item
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

_provider = TracerProvider()
_endpoint = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] + "/v1/traces"
_provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(_endpoint), max_queue_size=100_000))
trace.set_tracer_provider(_provider)
app = Litestar(
    [item, PrometheusController],
    openapi_config=None,
    middleware=[PrometheusConfig().middleware],
    plugins=[OpenTelemetryPlugin(OpenTelemetryConfig(tracer_provider=_provider)), StructlogPlugin()],
)
