"""Serving, as a plugin of the application."""

from collections.abc import Iterable
from typing import Any, final

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.plugins import InitPlugin

from ._board import Seat
from ._guard import Guard
from ._health import health_handlers
from ._readiness import Readiness
from ._settings import ServerSettings

ASGI_LAYER = 30
"""Outside everything: the edge is 10, telemetry 20."""


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
        self._seat: Seat | None = None
        self._guard: Guard | None = None
        self._readiness: Readiness | None = None

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        """Add the endpoints and the outermost layer."""

        def wrap(app: Litestar) -> None:
            self._start(app)

        wrap.asgi_layer = ASGI_LAYER  # type: ignore[attr-defined]  # a mark for those who sort hooks by layer
        app_config.route_handlers.extend(health_handlers(self))
        app_config.on_startup.append(wrap)
        app_config.on_startup.sort(key=_layer)
        return app_config

    def attach(self, seat: Seat) -> None:
        """Say where main tells this worker what to do; before the application is started."""
        self._seat = seat

    @property
    def seat(self) -> Seat | None:
        """Where main tells this worker what to do; none under another server."""
        return self._seat

    @property
    def guard(self) -> Guard | None:
        """The guard around the application, once it is started by a worker of ours."""
        return self._guard

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
        if self._seat is not None and self._guard is None:
            self._guard = Guard(
                app.asgi_handler, self._seat, body_timeout_s=self.settings.body_read_timeout_s
            )
            app.asgi_handler = self._guard


def _layer(hook: Any) -> int:
    layer: int = getattr(hook, "asgi_layer", 0)
    return layer
