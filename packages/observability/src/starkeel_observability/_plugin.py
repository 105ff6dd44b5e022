"""Litestar plugin for logs, metrics and traces."""

import logging
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, Self, final

import structlog
from litestar import Litestar, Response, get
from litestar.config.app import AppConfig
from litestar.connection import Request
from litestar.handlers import HTTPRouteHandler
from litestar.logging.config import BaseLoggingConfig, LoggingConfig
from litestar.plugins import InitPlugin
from litestar.types import Scope
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starkeel_asgi import ANY_HOST, AT_ONCE, current, pipeline_of
from starkeel_config import ServiceContext

from ._compat import check_litestar
from ._layer.layer import TelemetryLayer
from ._metrics.process import LoopLag
from ._process import ProcessSetup, is_set_up
from ._settings import ObservabilitySettings
from ._traces.provider import Tracing, has_foreign_provider

_FLUSH_S: Final = 3.0
_METRICS_OPT: Final = {"exclude_from_auth": True, AT_ONCE: True, ANY_HOST: True}


@final
class ObservabilityPlugin(InitPlugin):
    """Gives every request an id, a span, metrics and a log line.

    Order: list it first, so that it flushes last. `start_process`, which the server calls, sets up logging,
    the tracer provider and process metrics. Under another server this happens when the application starts.
    In another thread than the main one, as in a test client, logging is left alone; requests still have ids
    and are counted.

    Args:
        settings: Settings of logs, metrics and traces.
        metrics_path: Path at which the application responds with the metrics of its process, for servers
            that have no port for them. `None`, the default, is right under `starkeel-server`, whose admin
            port has the metrics of all processes.
    """

    def __init__(self, settings: ObservabilitySettings, *, metrics_path: str | None = None) -> None:
        self.settings = settings
        self._metrics_path = metrics_path
        self._layer: TelemetryLayer | None = None
        self._lag: LoopLag | None = None
        self._setup = ProcessSetup(settings)
        self._tracing = Tracing(settings)
        self._is_started = False

    @classmethod
    def for_service(cls, groups: Mapping[str, ObservabilitySettings], service: ServiceContext) -> Self:
        """Create the plugin from a service's settings."""
        return cls(service.only(groups))

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the telemetry layer, and replace Litestar's logging unless the application configured it."""
        app_config.lifespan = [self._process, *app_config.lifespan]
        app_config.on_startup.append(self._start)
        app_config.on_shutdown.append(self._stop)
        app_config.after_exception.append(_store_exception)
        if _is_default(app_config.logging_config):
            app_config.logging_config = StructlogConfig()
        app_config.on_startup.append(check_litestar)
        if self._metrics_path is not None:
            app_config.route_handlers.append(self._metrics_handler(self._metrics_path))
        return app_config

    def start_process(self, *, role: Literal["main", "worker"], index: int, workers: int) -> None:
        """Set up logging and metrics of this process, and in a worker the tracer provider."""
        self._setup.start_process(role=role, index=index, workers=workers)
        self._is_started = True
        if role == "worker":
            self._tracing.start()

    def stop_process(self, *, timeout_s: float) -> None:
        """Send the remaining spans and write the remaining lines, in about `timeout_s` seconds."""
        until = time.monotonic() + timeout_s
        if self._layer is not None:
            self._layer.flush()
        self._tracing.stop(timeout_s=timeout_s)
        self._setup.stop_process(timeout_s=until - time.monotonic())

    def set_log_levels(self, levels: str) -> None:
        """Change the log levels of this process.

        Raises:
            ValueError: The levels do not have the format of `LOG_LEVEL`.
        """
        self._setup.set_log_levels(levels)

    def inquiries(self) -> Mapping[str, Callable[[Mapping[str, str]], Any]]:
        """Return the admin endpoints of this process."""
        recent = self._tracing.recent
        traces = {} if recent is None else {"traces": recent.dump}
        return {**self._setup.inquiries(), **traces}

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """Yield the features for the start report: name, whether it is enabled, and why."""
        yield "traces", *self._traces()
        lines = f"LOG_FORMAT is {self.settings.log_format}, LOG_LEVEL is {self.settings.log_level}"
        yield "logs", True, lines

    @asynccontextmanager
    async def _process(self, _app: Litestar) -> AsyncGenerator[None]:
        """Set up a process whose server does not call the hooks; the outermost context of the application."""
        if is_set_up():
            yield
            return
        if threading.current_thread() is not threading.main_thread():
            # Test clients run the application so; the logging of the test runner must stay.
            logging.getLogger("starkeel_observability").warning(
                "logging not set up: the application does not run in the main thread; call `start_process` of"
                " ObservabilityPlugin before it starts, and `stop_process` at the end"
            )
            yield
            return
        self.start_process(role="worker", index=0, workers=1)
        try:
            yield
        finally:
            self.stop_process(timeout_s=_FLUSH_S)

    def _metrics_handler(self, path: str) -> HTTPRouteHandler:
        registry = CollectorRegistry()
        for collector in (REGISTRY, *self._setup.collectors()):
            registry.register(collector)

        @get(path, include_in_schema=False, sync_to_thread=False, opt=_METRICS_OPT)
        def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
            if self._layer is not None:
                self._layer.flush()
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
            return Response(encode(registry), media_type=content_type)

        return metrics

    def _traces(self) -> tuple[bool, str]:
        settings = self.settings
        if settings.sdk_disabled:
            return False, "OTEL_SDK_DISABLED is true"
        if settings.traces_exporter == "none":
            return False, "OTEL_TRACES_EXPORTER is none: nothing is sent"
        if has_foreign_provider():
            return True, "by the application's own tracer provider"
        endpoint = settings.otlp_traces_endpoint or settings.otlp_endpoint
        if endpoint is None:
            return False, "OTEL_EXPORTER_OTLP_ENDPOINT is not set: nothing is sent"
        return True, f"sent to {endpoint.shown} by {settings.protocol}"

    def _start(self, app: Litestar) -> None:
        if self._layer is None:
            pipeline = pipeline_of(app)
            self._layer = TelemetryLayer(app, pipeline, slow_s=self.settings.log_slow_request_s)
            pipeline.add(self._layer)
        # The text format is read as it is written: lines in the order of what they report.
        self._layer.start(is_batching=self._is_started and self.settings.log_format == "json")
        self._lag = LoopLag()
        self._lag.start()

    async def _stop(self) -> None:
        if self._lag is not None:
            self._lag.stop()
        if self._layer is not None:
            self._layer.flush()


async def _store_exception(exception: Exception, scope: Scope) -> None:
    """Store the exception that Litestar handles, for the span and the log."""
    exchange = current(scope)
    if exchange is not None:
        exchange.error = exception


class StructlogConfig(BaseLoggingConfig):
    """Provides `app.logger` and `request.logger`; configures nothing, as logging is set up per process."""

    def __init__(self) -> None:
        self.log_exceptions = "never"
        self.traceback_line_limit = -1
        self.exception_logging_handler = None
        self.disable_stack_trace = set()

    def configure(self) -> Any:
        return lambda name=None: structlog.get_logger(name or "litestar")

    @staticmethod
    def set_level(logger: Any, level: int) -> None:
        """Do nothing: levels are set by `LOG_LEVEL`."""
        del logger, level


def _is_default(config: object) -> bool:
    """Return whether the application left Litestar's logging configuration unchanged."""
    if type(config) is not LoggingConfig:
        return False
    default = LoggingConfig()
    # Litestar creates a new handler for every configuration.
    default.exception_logging_handler = config.exception_logging_handler
    return config == default
