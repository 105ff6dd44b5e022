"""Every variable of OpenTelemetry's specification has its effect, or is reported at start as unsupported."""

from pathlib import Path
from typing import Any

import opentelemetry.environment_variables as of_the_api
import opentelemetry.sdk.environment_variables as of_the_sdk
import pytest
from starkeel_config import reference, resolve
from starkeel_observability import ObservabilitySettings

STANDARD = sorted(
    {name for module in (of_the_api, of_the_sdk) for name in vars(module) if name.startswith("OTEL_")}
)
DECLARED = {
    variable.name
    for section in reference(ObservabilitySettings, service="orders").sections
    for variable in section.variables
}
CERTIFICATE = str(Path(__file__))
SUPPORTED: dict[str, tuple[str, Any, Any]] = {
    "OTEL_SERVICE_NAME": ("shop", "service_name", "shop"),
    "OTEL_SDK_DISABLED": ("true", "sdk_disabled", True),
    "OTEL_RESOURCE_ATTRIBUTES": ("team=a", lambda s: str(s.resource_attributes), "team=a"),
    "OTEL_TRACES_SAMPLER": ("always_off", "traces_sampler", "always_off"),
    "OTEL_TRACES_SAMPLER_ARG": ("0.5", "traces_sampler_arg", 0.5),
    "OTEL_TRACES_EXPORTER": ("none", "traces_exporter", "none"),
    "OTEL_BSP_SCHEDULE_DELAY": ("7", "bsp_schedule_delay_ms", 7),
    "OTEL_BSP_MAX_QUEUE_SIZE": ("700", "bsp_max_queue_size", 700),
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": ("7", "bsp_max_export_batch_size", 7),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("http://c:1", "traces_url", "http://c:1/v1/traces"),
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ("http://c:1/x", "traces_url", "http://c:1/x"),
    "OTEL_EXPORTER_OTLP_PROTOCOL": ("grpc", "protocol", "grpc"),
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": ("grpc", "protocol", "grpc"),
    "OTEL_EXPORTER_OTLP_COMPRESSION": ("gzip", "compresses", True),
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": ("gzip", "compresses", True),
    "OTEL_EXPORTER_OTLP_CERTIFICATE": (CERTIFICATE, "certificate", Path(CERTIFICATE)),
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": (CERTIFICATE, "certificate", Path(CERTIFICATE)),
    "OTEL_EXPORTER_OTLP_HEADERS": ("a=b", lambda s: s.collector_headers(), {"a": "b"}),
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS": ("a=b", lambda s: s.collector_headers(), {"a": "b"}),
    "OTEL_EXPORTER_OTLP_TIMEOUT": ("7", "timeout_s", 0.007),
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": ("7", "timeout_s", 0.007),
    "OTEL_PROPAGATORS": ("baggage, none", lambda s: s.propagators.names, []),
    "OTEL_PYTHON_CONTEXT": ("contextvars_context", "context_name", "contextvars_context"),
    "OTEL_PYTHON_TRACER_PROVIDER": ("sdk_tracer_provider", "tracer_provider", "sdk_tracer_provider"),
    "OTEL_PYTHON_METER_PROVIDER": ("sdk_meter_provider", "meter_provider", "sdk_meter_provider"),
}
READ_BY_THE_API = {name for name in STANDARD if "_PYTHON_" in name} - SUPPORTED.keys()


def read(environ: dict[str, str]) -> Any:
    return resolve(ObservabilitySettings, environ, service="orders")


def test_the_supported_variables_are_the_declared_ones() -> None:
    assert SUPPORTED.keys() == {name for name in DECLARED if name.startswith("OTEL_")}


@pytest.mark.parametrize("name", sorted(SUPPORTED))
def test_a_supported_variable_has_an_effect(name: str) -> None:
    text, field, expected = SUPPORTED[name]

    def effect(environ: dict[str, str]) -> Any:
        settings = read(environ).settings
        return getattr(settings, field) if isinstance(field, str) else field(settings)

    assert effect({}) != expected
    assert effect({name: text}) == expected
    assert read({name: text}).warnings == ()


@pytest.mark.parametrize("name", sorted(set(STANDARD) - set(SUPPORTED) - READ_BY_THE_API))
def test_any_other_variable_of_the_specification_is_reported(name: str) -> None:
    assert read({name: "1"}).warnings[-1] == f"{name} is set but not read by this service"


@pytest.mark.parametrize("name", sorted(READ_BY_THE_API))
def test_variables_that_opentelemetry_reads_are_not_reported(name: str) -> None:
    assert read({name: "1"}).warnings == ()


def test_variables_for_spans_take_precedence() -> None:
    settings = read(
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "a=b",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "c=d",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "none",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "7",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "9",
        }
    ).settings

    assert settings.collector_headers() == {"c": "d"}
    assert (settings.compresses, settings.timeout_s) == (False, 0.009)


def test_unsupported_variables_are_reported_in_one_line(samples: Any) -> None:
    ignored = {"OTEL_LOG_LEVEL": "debug", "OTEL_METRICS_EXPORTER": "otlp", "OTEL_BSP_EXPORT_TIMEOUT": "1"}
    sample = samples.ready(**ignored, OTEL_PROPAGATORS="tracecontext", OTEL_TRACES_SAMPLER="always_on")

    (line,) = sample.found("suspicious configuration")

    assert line["level"] == "WARN"
    assert line["problem"] == f"{', '.join(sorted(ignored))} are set but not read by this service"


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("OTEL_PROPAGATORS", "tracecontext,b3", "'b3'"),
        ("OTEL_PROPAGATORS", "tracecontext,,baggage", "accepted"),
        ("OTEL_PYTHON_CONTEXT", "gevent", "'gevent'"),
        ("OTEL_PYTHON_TRACER_PROVIDER", "vendor", "'vendor'"),
        ("OTEL_PYTHON_METER_PROVIDER", "vendor", "'vendor'"),
    ],
)
def test_an_implementation_that_is_not_installed_ends_the_start(
    samples: Any, name: str, text: str, named: str
) -> None:
    sample = samples.start(**{name: text})

    assert sample.wait() == 78
    assert name in sample.output
    assert named in sample.output
    assert "Traceback" not in sample.output


@pytest.mark.parametrize("is_file", [False, True])
def test_propagators_are_those_of_the_variable_or_its_file(samples: Any, is_file: bool) -> None:
    file = samples.directory / "propagators"
    file.write_text("baggage")
    given = {"OTEL_PROPAGATORS_FILE": file} if is_file else {"OTEL_PROPAGATORS": "baggage"}

    sample = samples.ready(**given)

    assert "traceparent" not in sample.get("/items/1", baggage="tenant=blue").json()


def test_headers_for_spans_are_sent(samples: Any, collector: Any) -> None:
    sample = samples.ready(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        OTEL_EXPORTER_OTLP_HEADERS="x-tenant=general",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS="x-tenant=spans",
    )
    sample.get("/pid")

    collector.wait_for(name="GET /pid")
    assert {request["x-tenant"] for request in collector.requests} == {"spans"}


def test_without_an_exporter_nothing_is_sent(samples: Any, collector: Any) -> None:
    sample = samples.ready(OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, OTEL_TRACES_EXPORTER="none")

    sample.get("/items/1")

    assert len(sample.wait_for_log("item seen")["trace_id"]) == 32
    assert sample.stop() == 0
    assert collector.requests == []
