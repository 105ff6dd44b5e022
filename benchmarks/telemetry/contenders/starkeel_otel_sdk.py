"""`starkeel_telemetry` with spans made and exported by the OpenTelemetry SDK.

Starkeel keeps a tracer provider that the application has installed, so request ids, logs and metrics are
Starkeel's own and only the spans are not.
"""

import otel_provider  # noqa: F401 - telemetry uses the provider that is installed when it starts
from starkeel_telemetry import app

__all__ = ["app"]
