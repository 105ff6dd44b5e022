"""OpenTelemetry providers that the application installs itself."""

from pathlib import Path
from typing import Any

import pytest

PROVIDER = """
import time
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

exporter = OTLPSpanExporter({endpoint!r})
{patch}
provider = TracerProvider(shutdown_on_exit={on_exit})
# Nothing is sent before the process ends.
provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=3_600_000))
trace.set_tracer_provider(provider)
"""

METERS_AND_LOGS = """
from pathlib import Path
from opentelemetry import _logs, metrics
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider

class Flushed:
    def force_flush(self, timeout_millis):
        Path(f"flushed-{type(self).__name__}").touch()
        return True

    def shutdown(self): ...

class Meters(Flushed, MeterProvider): ...
class Loggers(Flushed, LoggerProvider): ...

metrics.set_meter_provider(Meters())
_logs.set_logger_provider(Loggers())
"""


def extend(samples: Any, text: str) -> None:
    app: Path = samples.directory / "sample" / "app.py"
    app.write_text(app.read_text() + text)


@pytest.mark.parametrize("on_exit", [False, True])
def test_spans_of_the_applications_own_provider_arrive(samples: Any, collector: Any, on_exit: bool) -> None:
    extend(samples, PROVIDER.format(endpoint=f"{collector.endpoint}/v1/traces", patch="", on_exit=on_exit))
    sample = samples.ready()
    assert sample.get("/items/1").json()["traceparent"]

    assert sample.stop() == 0

    assert "GET /items/{item_id}" in {span["name"] for span in collector.spans}


def test_a_provider_that_hangs_does_not_exceed_the_time_for_the_flush(samples: Any, collector: Any) -> None:
    patch = "exporter.export = lambda spans: time.sleep(3600)"
    extend(samples, PROVIDER.format(endpoint=collector.endpoint, patch=patch, on_exit=True))
    sample = samples.ready(SHUTDOWN_FLUSH_SECONDS=1, SHUTDOWN_GRACE_SECONDS=1)
    sample.get("/items/1")

    # No worker was killed, which would be 70.
    assert sample.stop() == 0

    sample.wait_for_log("telemetry of the application not sent in time", provider="TracerProvider")


def test_providers_for_metrics_and_logs_are_flushed(samples: Any) -> None:
    extend(samples, METERS_AND_LOGS)
    sample = samples.ready()

    assert sample.stop() == 0

    assert {path.name for path in samples.directory.glob("flushed-*")} == {
        "flushed-Meters",
        "flushed-Loggers",
    }
