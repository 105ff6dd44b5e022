"""Settings for logs, metrics and traces."""

from collections.abc import Collection, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta
from starkeel_config import Environment, Problem, Secret, Settings, Variable

from .log_levels import LogLevels
from .otel_types import (
    PAIRS,
    OtlpEndpoint,
    Propagators,
    Protocol,
    ResourceAttributes,
    SamplerName,
    is_installed,
    parse_headers,
)

DEFAULT_PROPAGATORS = Propagators.parse("tracecontext,baggage")
_READ_BY_OPENTELEMETRY = ("OTEL_PYTHON_", "OTEL_INSTRUMENTATION_", "OTEL_SEMCONV_")

Text = Annotated[str, Meta(min_length=1, max_length=255)]
LogFormat = Literal["json", "pretty", "auto"]
Compression = Literal["none", "gzip"]
Milliseconds = Annotated[int, Meta(ge=1, le=600_000)]


class TelemetrySettings(Settings, frozen=True, kw_only=True):
    """Logs, metrics and traces; `OTEL_*` variables follow OpenTelemetry's specification."""

    environment: Annotated[Environment, Variable("ENVIRONMENT")] = "production"
    """Environment: `development` allows embedded defaults, a `.env` file and placeholder secrets."""

    log_level: Annotated[LogLevels, Variable("LOG_LEVEL")] = LogLevels.parse("info")
    """Minimum level of log lines, for all loggers and for single ones: `info,orders=debug`."""

    log_format: Annotated[LogFormat, Variable("LOG_FORMAT", development="auto")] = "json"
    """Format of log lines; `auto` is `pretty` if stdout is a terminal, else `json`."""

    log_slow_request_s: Annotated[float, Variable("LOG_SLOW_REQUEST_SECONDS"), Meta(gt=0, le=3600)] = 1.0
    """Seconds after which the line of a request is a warning; not for event streams and WebSockets."""

    log_repeats_per_second: Annotated[int, Variable("LOG_REPEATS_PER_SECOND"), Meta(ge=0, le=1_000_000)] = 100
    """Limit of warnings per second, logger and message in each process; five times as many for errors. Beyond
    it, one line in a hundred is written and the rest counted; 0 disables it. Other levels are unlimited."""

    service_name: Annotated[Text, Variable("OTEL_SERVICE_NAME", service_default="{service}")]
    """Service name in logs, metrics and traces."""

    service_version: Annotated[Text, Variable("SERVICE_VERSION", service_default="distribution:{service}")]
    """Service version; `distribution:NAME` is the version of an installed distribution."""

    service_revision: Annotated[Text, Variable("SERVICE_REVISION")] = "unknown"
    """Source revision of the build, such as a commit; set by the images."""

    otlp_endpoint: Annotated[OtlpEndpoint | None, Variable("OTEL_EXPORTER_OTLP_ENDPOINT")] = None
    """Base URL of the collector (OTLP/HTTP appends `/v1/traces`); spans are not sent unless it is set."""

    otlp_traces_endpoint: Annotated[OtlpEndpoint | None, Variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")] = (
        None
    )
    """URL that spans are sent to, used unchanged; takes precedence over `OTEL_EXPORTER_OTLP_ENDPOINT`."""

    otlp_protocol: Annotated[Protocol, Variable("OTEL_EXPORTER_OTLP_PROTOCOL")] = "http/protobuf"
    """Transport for spans; `grpc` requires the extra `starkeel-observability[grpc]`."""

    otlp_compression: Annotated[Compression, Variable("OTEL_EXPORTER_OTLP_COMPRESSION")] = "none"
    """Compression of export requests."""

    otlp_certificate: Annotated[Path | None, Variable("OTEL_EXPORTER_OTLP_CERTIFICATE")] = None
    """File with the trusted certificates (PEM) for the collector; default: the system's."""

    otlp_headers: Annotated[Secret | None, Variable("OTEL_EXPORTER_OTLP_HEADERS")] = None
    """Headers of export requests: `name=value` pairs, comma-separated and percent-encoded."""

    otlp_timeout_ms: Annotated[Milliseconds, Variable("OTEL_EXPORTER_OTLP_TIMEOUT")] = 10_000
    """Milliseconds after which a batch that the collector has not accepted is dropped."""

    otlp_traces_protocol: Annotated[Protocol | None, Variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")] = None
    """Overrides `OTEL_EXPORTER_OTLP_PROTOCOL` for spans."""

    otlp_traces_compression: Annotated[
        Compression | None, Variable("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION")
    ] = None
    """Overrides `OTEL_EXPORTER_OTLP_COMPRESSION` for spans."""

    otlp_traces_certificate: Annotated[Path | None, Variable("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE")] = None
    """Overrides `OTEL_EXPORTER_OTLP_CERTIFICATE` for spans."""

    otlp_traces_headers: Annotated[Secret | None, Variable("OTEL_EXPORTER_OTLP_TRACES_HEADERS")] = None
    """Replaces all headers of `OTEL_EXPORTER_OTLP_HEADERS` for spans."""

    otlp_traces_timeout_ms: Annotated[Milliseconds | None, Variable("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")] = (
        None
    )
    """Overrides `OTEL_EXPORTER_OTLP_TIMEOUT` for spans."""

    traces_exporter: Annotated[Literal["otlp", "none"], Variable("OTEL_TRACES_EXPORTER")] = "otlp"
    """Exporter for spans; `none` disables it."""

    traces_sampler: Annotated[SamplerName, Variable("OTEL_TRACES_SAMPLER")] = "parentbased_always_on"
    """Sampler; `parentbased_*` samplers follow the decision of the caller, if any."""

    traces_sampler_arg: Annotated[float, Variable("OTEL_TRACES_SAMPLER_ARG"), Meta(ge=0, le=1)] = 1.0
    """Share of traces that `traceidratio` samplers record."""

    resource_attributes: Annotated[ResourceAttributes, Variable("OTEL_RESOURCE_ATTRIBUTES")] = (
        ResourceAttributes()
    )
    """Resource attributes of spans; `service.name` is always `OTEL_SERVICE_NAME`."""

    propagators: Annotated[Propagators, Variable("OTEL_PROPAGATORS")] = DEFAULT_PROPAGATORS
    """Formats in which trace context is read from requests and sent to other services; those other than
    `tracecontext` and `baggage` need a package that provides them."""

    context_name: Annotated[Text | None, Variable("OTEL_PYTHON_CONTEXT")] = None
    """Implementation of OpenTelemetry's context; read by its library, from the environment only."""

    tracer_provider: Annotated[Text | None, Variable("OTEL_PYTHON_TRACER_PROVIDER")] = None
    """Tracer provider that is used instead of this package's; read by OpenTelemetry's library, from the
    environment only."""

    meter_provider: Annotated[Text | None, Variable("OTEL_PYTHON_METER_PROVIDER")] = None
    """Provider of OpenTelemetry's metrics, for libraries that use them; read by its library, from the
    environment only."""

    sdk_disabled: Annotated[bool, Variable("OTEL_SDK_DISABLED")] = False
    """Disables spans and trace ids; incoming trace context is still propagated."""

    bsp_schedule_delay_ms: Annotated[Milliseconds, Variable("OTEL_BSP_SCHEDULE_DELAY")] = 5000
    """Milliseconds between two batches of spans."""

    bsp_max_queue_size: Annotated[int, Variable("OTEL_BSP_MAX_QUEUE_SIZE"), Meta(ge=1, le=1_000_000)] = 2048
    """Maximum number of queued spans; the oldest are dropped."""

    bsp_max_export_batch_size: Annotated[
        int, Variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"), Meta(ge=1, le=100_000)
    ] = 512
    """Maximum number of spans in one batch."""

    @property
    def traces_url(self) -> str | None:
        """URL that spans are sent to; `None` if they are not sent."""
        if self.sdk_disabled or self.traces_exporter == "none":
            return None
        if self.otlp_traces_endpoint is not None:
            return self.otlp_traces_endpoint
        if self.otlp_endpoint is None:
            return None
        path = "/v1/traces" if self.protocol == "http/protobuf" else ""
        return self.otlp_endpoint + path

    @property
    def version(self) -> str:
        """Resolved service version; `0` if the distribution is not installed."""
        name = self.service_version.removeprefix("distribution:")
        if name == self.service_version:
            return name
        # Imported here, as commands that only read the settings do not need it, and it takes milliseconds.
        from importlib import metadata

        try:
            return metadata.version(name)
        except (metadata.PackageNotFoundError, ValueError):
            return "0"

    @property
    def protocol(self) -> Protocol:
        """Effective transport for spans."""
        return self.otlp_traces_protocol or self.otlp_protocol

    @property
    def compresses(self) -> bool:
        return (self.otlp_traces_compression or self.otlp_compression) == "gzip"

    @property
    def certificate(self) -> Path | None:
        """Effective file with the trusted certificates."""
        return self.otlp_traces_certificate or self.otlp_certificate

    @property
    def timeout_s(self) -> float:
        """Effective export timeout in seconds."""
        return (self.otlp_traces_timeout_ms or self.otlp_timeout_ms) / 1000

    def collector_headers(self) -> dict[str, str]:
        """Return the headers of export requests.

        Raises:
            ValueError: The setting is malformed.
        """
        given = self.otlp_traces_headers or self.otlp_headers
        return {} if given is None else parse_headers(given.reveal())

    @classmethod
    def ignored(cls, names: Collection[str]) -> Iterator[str]:
        """Yield the `OTEL_*` variables that neither this package nor OpenTelemetry's libraries read."""
        yield from (
            name for name in names if name.startswith("OTEL_") and not name.startswith(_READ_BY_OPENTELEMETRY)
        )

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Report malformed headers, batches larger than the queue, and missing files or packages."""
        del environment

        def name(setting: str, for_traces: object) -> str:
            return f"OTEL_EXPORTER_OTLP_{'' if for_traces is None else 'TRACES_'}{setting}"

        try:
            self.collector_headers()
        except ValueError as error:
            yield Problem(name("HEADERS", self.otlp_traces_headers), f"is malformed: {error}", PAIRS)
        yield from self._not_installed()
        if self.bsp_max_export_batch_size > self.bsp_max_queue_size:
            yield Problem(
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
                f"is {self.bsp_max_export_batch_size}",
                f"at most OTEL_BSP_MAX_QUEUE_SIZE, {self.bsp_max_queue_size}",
            )
        if self.certificate is not None and not self.certificate.is_file():
            yield Problem(
                name("CERTIFICATE", self.otlp_traces_certificate),
                f"is {str(self.certificate)!r}, which is not a file",
                "an existing file",
            )
        if self.protocol == "grpc" and find_spec("grpc") is None:
            yield Problem(
                name("PROTOCOL", self.otlp_traces_protocol),
                "is 'grpc', but grpcio is not installed; install the extra starkeel-observability[grpc]",
                "http/protobuf",
            )

    def _not_installed(self) -> Iterator[Problem]:
        """Report implementations that OpenTelemetry's library would fail to load."""
        propagators = () if self.propagators == DEFAULT_PROPAGATORS else self.propagators.names
        named = [("OTEL_PROPAGATORS", "propagator", name) for name in propagators]
        named += [
            (f"OTEL_PYTHON_{group.upper()}", group, name)
            for group, name in (
                ("context", self.context_name),
                ("tracer_provider", self.tracer_provider),
                ("meter_provider", self.meter_provider),
            )
            if name is not None
        ]
        for variable, group, name in named:
            if not is_installed(group, name):
                why = f"names {name!r}, which no installed package provides"
                yield Problem(variable, why, f"the name of an installed {group.replace('_', ' ')}")
