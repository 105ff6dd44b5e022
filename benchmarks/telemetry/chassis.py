"""The same handler on the whole chassis: telemetry, the edge, and the server with its drain guard."""

from bare import item
from litestar import Litestar
from starkeel_config import ServiceSettings
from starkeel_http import EdgePlugin, EdgeSettings
from starkeel_observability import ObservabilityPlugin, ObservabilitySettings
from starkeel_server import ServerPlugin, ServerSettings, Service, run


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """All that a service without a database has."""

    observability: ObservabilitySettings
    server: ServerSettings
    http: EdgeSettings


def create_app(settings: Settings) -> Litestar:
    """Make the application."""
    plugins = [
        ObservabilityPlugin(settings.observability),
        ServerPlugin(settings.server),
        EdgePlugin(settings.http),
    ]
    return Litestar([item], openapi_config=None, plugins=plugins)


if __name__ == "__main__":
    run(Service(name="bench", settings="chassis:Settings", app="chassis:create_app"))
