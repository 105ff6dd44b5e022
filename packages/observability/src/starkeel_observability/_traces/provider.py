"""Tracer provider, and its set-up in a process."""

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from opentelemetry import propagate, trace
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.util.types import Attributes

from .._compat import has_default_propagators
from .._config.otel_types import Propagators
from .._config.settings import DEFAULT_PROPAGATORS, TelemetrySettings
from .span import InstrumentationScope, OnEnd, PutEncoded, RecordedSpan, SpanOutput, discard_encoded
from .tracer import ShouldSample, Tracer, sampler

if TYPE_CHECKING:
    from .exporter import Exporter
    from .recent import RecentTraces

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Provider(trace.TracerProvider):
    """Creates a tracer per instrumentation scope; see `SpanOutput`."""

    should_sample: ShouldSample
    on_end: OnEnd
    put_encoded: PutEncoded | None = None

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        """Return a tracer; see `opentelemetry.trace.TracerProvider.get_tracer`."""
        scope = InstrumentationScope(
            instrumenting_module_name or "", instrumenting_library_version or "", schema_url or "", attributes
        )
        return Tracer(SpanOutput(scope, self.on_end, self.put_encoded), self.should_sample)


class Tracing:
    """Installs a tracer provider, unless the application has installed its own."""

    def __init__(self, settings: TelemetrySettings) -> None:
        self._settings = settings
        self._exporter: Exporter | None = None
        self.recent: RecentTraces | None = None
        """Recent traces, in development; `None` in production."""

    def start(self) -> None:
        settings = self._settings
        _install_propagators(settings.propagators)
        if settings.sdk_disabled or has_foreign_provider():
            return
        on_end: OnEnd = deque[RecordedSpan](maxlen=0).append
        put_encoded: PutEncoded | None = discard_encoded
        if settings.traces_url is not None:
            from .exporter import create_exporter

            self._exporter = create_exporter(settings, settings.traces_url)
            self._exporter.start()
            on_end, put_encoded = self._exporter.take, self._exporter.put
        if settings.environment == "development":
            from .recent import RecentTraces

            self.recent = RecentTraces(settings.service_name, on_end)
            on_end, put_encoded = self.recent.take, None
        should_sample = sampler(settings.traces_sampler, settings.traces_sampler_arg)
        installed = trace.get_tracer_provider()
        if isinstance(installed, Provider):
            # OpenTelemetry installs one only, for an application that is started again as well.
            installed.should_sample, installed.on_end = should_sample, on_end
            installed.put_encoded = put_encoded
        else:
            trace.set_tracer_provider(Provider(should_sample, on_end, put_encoded))

    def stop(self, *, timeout_s: float) -> None:
        """Send the remaining spans; takes at most `timeout_s` seconds."""
        exporter, self._exporter = self._exporter, None
        if exporter is not None and not exporter.stop(timeout_s=timeout_s):
            log.warning("spans not sent in time", timeout_s=round(timeout_s, 3))


def has_foreign_provider() -> bool:
    """Return whether the application has installed a tracer provider of its own."""
    return not isinstance(trace.get_tracer_provider(), (trace.ProxyTracerProvider, Provider))


def _install_propagators(propagators: Propagators) -> None:
    """Install propagators that a file names: OpenTelemetry's library reads only the environment."""
    if propagators == DEFAULT_PROPAGATORS or not has_default_propagators():
        return
    from importlib.metadata import entry_points

    group = "opentelemetry_propagator"
    found = [
        entry.load()()
        for name in propagators.names
        for entry in list(entry_points(group=group, name=name))[:1]
    ]
    propagate.set_global_textmap(CompositePropagator(found))
