"""What the environment says about logs, metrics and traces."""

from collections.abc import Collection, Iterator
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta
from starkeel_config import Environment, Problem, Secret, Settings, Variable

from ._logs._levels import LogLevels
from ._traces._types import OtlpEndpoint, Protocol, ResourceAttributes, Sampler, headers

if TYPE_CHECKING:
    from ._process_setup import ProcessSetup

_DISTRIBUTION = "distribution:"
_OTHERS = ("OTEL_PROPAGATORS", "OTEL_PYTHON_", "OTEL_INSTRUMENTATION_", "OTEL_SEMCONV_")
_HEADERS = "name=value pairs, comma-separated and percent-encoded"

Text = Annotated[str, Meta(min_length=1, max_length=255)]
Milliseconds = Annotated[int, Meta(ge=1, le=600_000)]


class ObservabilitySettings(Settings, frozen=True, kw_only=True):
    """Logs, metrics and traces; those of OpenTelemetry as its specification has them."""

    environment: Annotated[Environment, Variable("ENVIRONMENT")] = "production"
    """Where it runs: `development` allows embedded defaults, a `.env` file and placeholder secrets."""

    log_level: Annotated[LogLevels, Variable("LOG_LEVEL")] = LogLevels.parse("info")
    """What is logged: a level for all loggers, and others for some: `info,orders=debug`."""

    log_format: Annotated[Literal["json", "pretty", "auto"], Variable("LOG_FORMAT", development="auto")] = (
        "json"
    )
    """How lines are written: JSON, or for people; `auto` is for people when stdout is a terminal."""

    log_slow_request_s: Annotated[float, Variable("LOG_SLOW_REQUEST_SECONDS"), Meta(gt=0, le=3600)] = 1.0
    """Seconds from which on a request's line is a warning; event streams and WebSockets take their time."""

    log_repeats_per_second: Annotated[int, Variable("LOG_REPEATS_PER_SECOND"), Meta(ge=0, le=1_000_000)] = 100
    """Lines of one logger, level and message that a process writes in a second, of errors five times as many;
    of more each hundredth is written, the rest counted; 0 for all. Lines of requests are always written."""

    service_name: Annotated[Text, Variable("OTEL_SERVICE_NAME", service_default="{service}")]
    """What the service is called in logs, metrics and traces."""

    service_version: Annotated[
        Text, Variable("SERVICE_VERSION", service_default=f"{_DISTRIBUTION}{{service}}")
    ]
    """Its version; `distribution:NAME` stands for that of an installed distribution."""

    service_revision: Annotated[Text, Variable("SERVICE_REVISION")] = "unknown"
    """What it was built from, a commit for instance; images set it."""

    otlp_endpoint: Annotated[OtlpEndpoint | None, Variable("OTEL_EXPORTER_OTLP_ENDPOINT")] = None
    """Collector that spans are sent to (by HTTP to `/v1/traces` below it); without one none are sent."""

    otlp_traces_endpoint: Annotated[OtlpEndpoint | None, Variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")] = (
        None
    )
    """URL that spans are sent to as it is, instead of the one above."""

    otlp_protocol: Annotated[Protocol, Variable("OTEL_EXPORTER_OTLP_PROTOCOL")] = "http/protobuf"
    """How spans are sent; `grpc` takes the extra `starkeel-observability[grpc]`."""

    otlp_compression: Annotated[Literal["none", "gzip"], Variable("OTEL_EXPORTER_OTLP_COMPRESSION")] = "none"
    """How what is sent is compressed."""

    otlp_certificate: Annotated[Path | None, Variable("OTEL_EXPORTER_OTLP_CERTIFICATE")] = None
    """File of the certificates (PEM) that the collector's is checked by; the system's unless given."""

    otlp_headers: Annotated[Secret | None, Variable("OTEL_EXPORTER_OTLP_HEADERS")] = None
    """Headers sent along, as `name=value` pairs, comma-separated and percent-encoded."""

    otlp_timeout_ms: Annotated[Milliseconds, Variable("OTEL_EXPORTER_OTLP_TIMEOUT")] = 10_000
    """Milliseconds until a batch of spans that the collector did not take is given up."""

    otlp_traces_protocol: Annotated[Protocol | None, Variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")] = None
    """The same for spans alone."""

    otlp_traces_compression: Annotated[
        Literal["none", "gzip"] | None, Variable("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION")
    ] = None
    """The same for spans alone."""

    otlp_traces_certificate: Annotated[Path | None, Variable("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE")] = None
    """The same for spans alone."""

    otlp_traces_headers: Annotated[Secret | None, Variable("OTEL_EXPORTER_OTLP_TRACES_HEADERS")] = None
    """The same for spans alone; none of the others are sent then."""

    otlp_traces_timeout_ms: Annotated[Milliseconds | None, Variable("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")] = (
        None
    )
    """The same for spans alone."""

    traces_exporter: Annotated[Literal["otlp", "none"], Variable("OTEL_TRACES_EXPORTER")] = "otlp"
    """Where spans go: by OTLP, or nowhere."""

    traces_sampler: Annotated[Sampler, Variable("OTEL_TRACES_SAMPLER")] = "parentbased_always_on"
    """Which traces are sent; `parentbased_*` leaves it to the caller when there is one."""

    traces_sampler_arg: Annotated[float, Variable("OTEL_TRACES_SAMPLER_ARG"), Meta(ge=0, le=1)] = 1.0
    """Share of traces that `traceidratio` samplers send."""

    resource_attributes: Annotated[ResourceAttributes, Variable("OTEL_RESOURCE_ATTRIBUTES")] = (
        ResourceAttributes()
    )
    """What else every span says about this process; `service.name` is `OTEL_SERVICE_NAME` all the same."""

    sdk_disabled: Annotated[bool, Variable("OTEL_SDK_DISABLED")] = False
    """Makes no spans and no ids; a trace that comes in is still passed on."""

    bsp_schedule_delay_ms: Annotated[Milliseconds, Variable("OTEL_BSP_SCHEDULE_DELAY")] = 5000
    """Milliseconds between two batches of spans."""

    bsp_max_queue_size: Annotated[int, Variable("OTEL_BSP_MAX_QUEUE_SIZE"), Meta(ge=1, le=1_000_000)] = 2048
    """Spans that wait to be sent; older ones are dropped for newer ones."""

    bsp_max_export_batch_size: Annotated[
        int, Variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"), Meta(ge=1, le=100_000)
    ] = 512
    """Spans in one batch."""

    @property
    def traces_url(self) -> str | None:
        """Where spans are sent; None when they are not."""
        if self.sdk_disabled or self.traces_exporter == "none":
            return None
        if self.otlp_traces_endpoint is not None:
            return self.otlp_traces_endpoint.url
        if self.otlp_endpoint is None:
            return None
        path = "/v1/traces" if self.protocol == "http/protobuf" else ""
        return self.otlp_endpoint.url + path

    @property
    def version(self) -> str:
        """The service's version; `0` when it is that of a distribution which is not installed."""
        name = self.service_version.removeprefix(_DISTRIBUTION)
        if name == self.service_version:
            return name
        try:
            return installed_version(name)
        except (PackageNotFoundError, ValueError):
            return "0"

    @property
    def protocol(self) -> Protocol:
        """How spans are sent."""
        return self.otlp_traces_protocol or self.otlp_protocol

    @property
    def compresses(self) -> bool:
        """Whether spans are compressed."""
        return (self.otlp_traces_compression or self.otlp_compression) == "gzip"

    @property
    def certificate(self) -> Path | None:
        """File of the certificates that the collector's is checked by."""
        return self.otlp_traces_certificate or self.otlp_certificate

    @property
    def timeout_s(self) -> float:
        """Seconds until a batch that the collector did not take is given up."""
        return (self.otlp_traces_timeout_ms or self.otlp_timeout_ms) / 1000

    def collector_headers(self) -> dict[str, str]:
        """Headers for the collector.

        Raises:
            ValueError: They are written wrongly.
        """
        given = self.otlp_traces_headers or self.otlp_headers
        return {} if given is None else headers(given.reveal())

    @classmethod
    def ignored(cls, names: Collection[str]) -> Iterator[str]:
        """Whatever else is called `OTEL_*`, but for what OpenTelemetry's own libraries read."""
        yield from (name for name in names if name.startswith("OTEL_") and not name.startswith(_OTHERS))

    def main_process(self) -> "ProcessSetup":
        """What sets up a main process, which makes no application."""
        from ._process_setup import ProcessSetup

        return ProcessSetup(self)

    def problems(self, environment: Environment) -> Iterator[Problem]:
        """Refuse headers that cannot be sent, batches larger than the queue, and gRPC that is not there."""
        del environment
        traces = "" if self.otlp_traces_headers is None else "TRACES_"
        try:
            self.collector_headers()
        except ValueError as error:
            yield Problem(f"OTEL_EXPORTER_OTLP_{traces}HEADERS", f"is set wrongly: {error}", _HEADERS)
        if self.bsp_max_export_batch_size > self.bsp_max_queue_size:
            yield Problem(
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
                f"is {self.bsp_max_export_batch_size}",
                f"at most OTEL_BSP_MAX_QUEUE_SIZE, {self.bsp_max_queue_size}",
            )
        if self.certificate is not None and not self.certificate.is_file():
            traces = "" if self.otlp_traces_certificate is None else "TRACES_"
            yield Problem(
                f"OTEL_EXPORTER_OTLP_{traces}CERTIFICATE",
                f"is {str(self.certificate)!r}, which is no file",
                "a file",
            )
        if self.protocol == "grpc" and not _has_grpc():
            traces = "" if self.otlp_traces_protocol is None else "TRACES_"
            yield Problem(
                f"OTEL_EXPORTER_OTLP_{traces}PROTOCOL",
                "is 'grpc', which is not installed: it comes with the extra starkeel-observability[grpc]",
                "http/protobuf",
            )


def _has_grpc() -> bool:
    try:
        return find_spec("grpc") is not None
    except (ModuleNotFoundError, ValueError):
        return False
