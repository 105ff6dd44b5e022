"""The server's plugin: health endpoints and draining."""

from collections.abc import Iterable, Mapping
from typing import Any, Self, final

from litestar import Litestar, Response, get
from litestar.config.app import AppConfig
from litestar.handlers import HTTPRouteHandler
from litestar.plugins import InitPlugin
from starkeel_asgi import ANY_HOST, AT_ONCE, pipeline_of
from starkeel_config import ServiceContext

from .._config.settings import ServerSettings
from .._ipc.scoreboard import Phase, WorkerSlot
from .open_requests import Drain
from .readiness import Check, Readiness, is_ready

_OPT = {"exclude_from_auth": True, AT_ONCE: True, ANY_HOST: True}
_UNCACHED = {"Cache-Control": "no-store"}


@final
class ServerPlugin(InitPlugin):
    """Adds `/health/started`, `/health/live` and `/health/ready`, and the middleware that drains a worker.

    Its position in the list of plugins does not matter. Under other ASGI servers (`litestar run`, a test
    client) the health endpoints work, but draining is disabled.

    Args:
        settings: Settings of the server.
        checks: Readiness checks by name, in addition to those of the application's plugins: async functions
            that raise when they fail. They are critical.
    """

    def __init__(self, settings: ServerSettings, *, checks: Mapping[str, Check] | None = None) -> None:
        self.settings = settings
        self._checks = dict(checks or {})
        self.slot: WorkerSlot | None = None
        """Slot of this worker, set before the application starts; None under other servers."""
        self.drain: Drain | None = None
        """The drain layer; None before the application starts and under other servers."""
        self.readiness: Readiness | None = None
        """The readiness checks; None before the application starts."""

    @classmethod
    def for_service(cls, groups: Mapping[str, ServerSettings], service: ServiceContext) -> Self:
        """Create the plugin from a service's settings."""
        return cls(service.only(groups))

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the health endpoints and the outermost ASGI layer."""
        app_config.route_handlers.extend(_health_handlers(self))
        app_config.on_startup.append(self._start)
        return app_config

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """Yield the features of the server: name, whether it is enabled, and why."""
        tls, mutual = self.settings.uses_tls, self.settings.tls_client_ca_file is not None
        yield "tls", tls, "TLS_CERT_FILE is set" if tls else "TLS_CERT_FILE is not set"
        yield "client certificates", mutual, f"TLS_CLIENT_CA_FILE is {'set' if mutual else 'not set'}"

    def _start(self, app: Litestar) -> None:
        self.readiness = Readiness(app.plugins, self._checks)
        pipeline_of(app).config.max_message_bytes = self.settings.max_websocket_message_bytes
        if self.slot is not None and self.drain is None:
            timeout_s = self.settings.body_read_timeout_s
            self.drain = Drain(pipeline_of(app), self.slot, body_timeout_s=timeout_s)


def _health_handlers(plugin: ServerPlugin) -> list[HTTPRouteHandler]:
    """Return the health endpoints; they are not part of the API and need no authentication."""

    @get("/health/live", include_in_schema=False, opt=_OPT)
    async def live() -> Response[dict[str, Any]]:
        # No dependencies: an outage of the database must not restart every instance.
        return _health_response(200, status="live")

    @get("/health/started", include_in_schema=False, opt=_OPT)
    async def started() -> Response[dict[str, Any]]:
        is_started = _is_started(plugin)
        return _health_response(200 if is_started else 503, status="started" if is_started else "starting")

    @get("/health/ready", include_in_schema=False, opt=_OPT)
    async def ready() -> Response[dict[str, Any]]:
        # The phase of the service: a single worker being replaced does not make the service not ready.
        if plugin.slot is not None and plugin.slot.scoreboard.phase >= Phase.DRAINING:
            return _health_response(503, status="draining", checks={})
        if not _is_started(plugin) or plugin.readiness is None:
            return _health_response(503, status="not ready", checks={})
        checks = await plugin.readiness.check()
        status_code, status = (200, "ready") if is_ready(checks) else (503, "not ready")
        return _health_response(status_code, status=status, checks=checks)

    return [live, started, ready]


def _is_started(plugin: ServerPlugin) -> bool:
    return plugin.slot is None or plugin.slot.scoreboard.phase >= Phase.RUNNING


def _health_response(status_code: int, **content: Any) -> Response[dict[str, Any]]:
    return Response(content, status_code=status_code, headers=_UNCACHED)
