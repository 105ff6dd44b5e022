"""Serving, as a plugin of the application."""

from collections.abc import Iterable
from typing import Any, Protocol, final

from litestar import Litestar, Response, get
from litestar.config.app import AppConfig
from litestar.handlers import HTTPRouteHandler
from litestar.plugins import InitPlugin
from starkeel_asgi import pipeline_of

from .._config.settings import ServerSettings
from .._ipc.scoreboard import Phase, WorkerSlot
from .drain import Drain
from .readiness import Readiness

_OPT = {"exclude_from_auth": True}
_UNCACHED = {"Cache-Control": "no-store"}


@final
class ServerPlugin(InitPlugin):
    """Adds `/health/started`, `/health/live` and `/health/ready`, and the guard that drains a worker.

    Its place in the list of plugins does not matter. Under a server that is not ours (`litestar run`, a test
    client) the health endpoints work and nothing is drained.

    Args:
        settings: Ports, workers, and how the process stops.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self._slot: WorkerSlot | None = None
        self._drain: Drain | None = None
        self._readiness: Readiness | None = None

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the endpoints and the outermost layer."""

        def wrap(app: Litestar) -> None:
            self._start(app)

        app_config.route_handlers.extend(health_handlers(self))
        app_config.on_startup.append(wrap)
        return app_config

    def attach(self, slot: WorkerSlot) -> None:
        """Say where main tells this worker what to do; before the application is started."""
        self._slot = slot

    @property
    def slot(self) -> WorkerSlot | None:
        """Where main tells this worker what to do; none under another server."""
        return self._slot

    @property
    def drain(self) -> Drain | None:
        """The guard around the application, once it is started by a worker of ours."""
        return self._drain

    @property
    def readiness(self) -> Readiness | None:
        """The readiness checks, once the application is started."""
        return self._readiness

    def features(self) -> Iterable[tuple[str, bool, str]]:
        """What the start report says of serving."""
        tls, mutual = self.settings.uses_tls, self.settings.tls_client_ca_file is not None
        yield "tls", tls, "TLS_CERT_FILE is set" if tls else "TLS_CERT_FILE is not set"
        yield "client certificates", mutual, f"TLS_CLIENT_CA_FILE is {'set' if mutual else 'not set'}"

    def _start(self, app: Litestar) -> None:
        self._readiness = Readiness.of(app)
        if self._slot is not None and self._drain is None:
            self._drain = Drain(
                pipeline_of(app), self._slot, body_timeout_s=self.settings.body_read_timeout_s
            )


class HealthContext(Protocol):
    """What the endpoints know about their process."""

    @property
    def slot(self) -> WorkerSlot | None:
        """The worker's part of the board."""

    @property
    def readiness(self) -> Readiness | None:
        """The readiness checks."""


def health_handlers(context: HealthContext) -> list[HTTPRouteHandler]:
    """The endpoints; none is part of the API, nor asks who asks."""

    @get("/health/live", include_in_schema=False, opt=_OPT, summary="Whether the process answers")
    async def live() -> Response[dict[str, Any]]:
        # Nothing outside the process: an outage of the database must not restart every instance.
        return _answer(200, status="live")

    @get("/health/started", include_in_schema=False, opt=_OPT, summary="Whether boot is over")
    async def started() -> Response[dict[str, Any]]:
        if _is_booted(context):
            return _answer(200, status="started")
        return _answer(503, status="starting")

    @get("/health/ready", include_in_schema=False, opt=_OPT, summary="Whether requests may be sent here")
    async def ready() -> Response[dict[str, Any]]:
        # One worker that leaves does not make the service leave.
        if context.slot is not None and context.slot.scoreboard.phase is not Phase.SERVING:
            # At once, without asking anything: this is what tells a load balancer to go elsewhere.
            return _answer(503, status="draining", checks={})
        if not _is_booted(context) or context.readiness is None:
            return _answer(503, status="not ready", checks={})
        report = await context.readiness.report()
        is_ready = report.is_ready
        return _answer(
            200 if is_ready else 503, status="ready" if is_ready else "not ready", checks=report.checks
        )

    return [live, started, ready]


def _is_booted(context: HealthContext) -> bool:
    return context.slot is None or context.slot.scoreboard.booted


def _answer(status_code: int, **content: Any) -> Response[dict[str, Any]]:
    return Response(content, status_code=status_code, headers=_UNCACHED)
