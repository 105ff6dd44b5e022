"""Set-up of tracing in a process: tracer provider and exporter."""

from typing import TYPE_CHECKING

import structlog
from opentelemetry import trace

from .._config.settings import TelemetrySettings
from .span import InstrumentationScope, OnEnd, PutEncoded, RecordedSpan
from .tracer import Provider, sampler

if TYPE_CHECKING:
    from .exporter import Exporter
    from .recent import RecentTraces

log = structlog.get_logger(__name__)


class Tracing:
    """Installs a tracer provider, unless the application has installed its own."""

    def __init__(self, settings: TelemetrySettings) -> None:
        self._settings = settings
        self._exporter: Exporter | None = None
        self.recent: RecentTraces | None = None
        """Recent traces, in development; `None` in production."""

    def start(self) -> None:
        settings = self._settings
        if settings.sdk_disabled or has_provider():
            return
        on_end: OnEnd = _discard_span
        put_encoded: PutEncoded | None = _discard_encoded
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
        trace.set_tracer_provider(Provider(should_sample, on_end, put_encoded))

    def stop(self, *, timeout_s: float) -> None:
        """Send the remaining spans; takes at most `timeout_s` seconds."""
        exporter, self._exporter = self._exporter, None
        if exporter is not None and not exporter.stop(timeout_s=timeout_s):
            log.warning("spans not sent in time", timeout_s=round(timeout_s, 3))


def has_provider() -> bool:
    """Return whether a tracer provider is installed."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _discard_encoded(_scope: InstrumentationScope, _encoded: list[bytes]) -> None:
    """Without an exporter, encoded spans are discarded."""


def _discard_span(_: RecordedSpan) -> None:
    """Without an exporter, spans are discarded."""
