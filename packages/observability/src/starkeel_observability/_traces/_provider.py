"""Who makes spans and sends them, for a whole process."""

import os
import platform
import socket
from collections.abc import Mapping
from importlib.metadata import version
from uuid import uuid4

import structlog
from opentelemetry import trace

from starkeel_observability._settings import ObservabilitySettings

from ._encode import resource
from ._export import Exporter
from ._recent import RecentTraces
from ._recorded import Finished, Put, RecordedSpan, Scope, cleaned
from ._sampler import sampler
from ._sending import Sender
from ._tracer import Provider

log = structlog.get_logger(__name__)


class Tracing:
    """The tracer provider of a process, unless the application has installed one of its own.

    Args:
        settings: Where spans are sent, and which.
    """

    def __init__(self, settings: ObservabilitySettings) -> None:
        self._settings = settings
        self._exporter: Exporter | None = None
        self.recent: RecentTraces | None = None
        """What development keeps to be looked at; nothing in production."""

    def start(self) -> None:
        """Install the provider."""
        settings = self._settings
        if settings.sdk_disabled or has_provider():
            return
        finished: Finished = _forget
        put: Put | None = _forget_all
        if settings.traces_url is not None:
            self._exporter = _exporter(settings, settings.traces_url)
            self._exporter.start()
            finished, put = self._exporter.take, self._exporter.put
        if settings.environment == "development":
            self.recent = RecentTraces(settings.service_name, finished)
            finished, put = self.recent.take, None
        decide = sampler(settings.traces_sampler, settings.traces_sampler_arg)
        trace.set_tracer_provider(Provider(decide, finished, put))

    def stop(self, *, timeout_s: float) -> None:
        """Send what has not been sent.

        Args:
            timeout_s: Seconds it may take; a collector that does not answer is left alone then.
        """
        exporter, self._exporter = self._exporter, None
        if exporter is not None and not exporter.stop(timeout_s=timeout_s):
            log.warning("spans not sent in time", timeout_s=round(timeout_s, 3))


def has_provider() -> bool:
    """Whether a tracer provider is installed."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _forget_all(_scope: Scope, _encoded: list[bytes]) -> None:
    """Nobody wants them."""


def _forget(_: RecordedSpan) -> None:
    """Nobody takes spans."""


def _exporter(settings: ObservabilitySettings, url: str) -> Exporter:
    return Exporter(
        _sender(settings, url),
        resource(_attributes(settings)),
        most_waiting=settings.bsp_max_queue_size,
        most_sent=settings.bsp_max_export_batch_size,
        every_s=settings.bsp_schedule_delay_ms / 1000,
        timeout_s=settings.timeout_s,
    )


def _sender(settings: ObservabilitySettings, url: str) -> Sender:
    headers, compresses = settings.collector_headers(), settings.compresses
    if settings.protocol == "grpc":
        from ._grpc import GrpcSender

        return GrpcSender(url, headers, compresses=compresses, ca_file=settings.certificate)
    from ._http import HttpSender

    return HttpSender(url, headers, compresses=compresses, ca_file=settings.certificate)


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
        "telemetry.sdk.name": "starkeel",
        "telemetry.sdk.version": version("starkeel-observability"),
        **{name: cleaned(name, value) for name, value in settings.resource_attributes.pairs},
        "service.name": settings.service_name,
    }
