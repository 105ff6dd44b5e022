"""The handler with Litestar's own plugins: Prometheus, OpenTelemetry, structlog."""

from litestar import Litestar
from litestar.plugins.opentelemetry import OpenTelemetryConfig, OpenTelemetryPlugin
from litestar.plugins.prometheus import PrometheusConfig, PrometheusController
from litestar.plugins.structlog import StructlogPlugin
from litestar_bare import item
from otel_provider import provider

app = Litestar(
    [item, PrometheusController],
    openapi_config=None,
    middleware=[PrometheusConfig().middleware],
    plugins=[OpenTelemetryPlugin(OpenTelemetryConfig(tracer_provider=provider)), StructlogPlugin()],
)
