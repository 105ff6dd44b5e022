"""The handler on the whole chassis: telemetry, HTTP edge, and the server with drain and supervision."""

from litestar import Litestar
from litestar_bare import item
from starkeel_config import ServiceSettings
from starkeel_http import HttpPlugin, HttpSettings
from starkeel_observability import ObservabilityPlugin, ObservabilitySettings
from starkeel_server import ServerPlugin, ServerSettings, Service, run


class Settings(ServiceSettings, frozen=True, kw_only=True):
    observability: ObservabilitySettings
    server: ServerSettings
    http: HttpSettings


def create_app(settings: Settings) -> Litestar:
    plugins = [
        ObservabilityPlugin(settings.observability),
        ServerPlugin(settings.server),
        HttpPlugin(settings.http),
    ]
    return Litestar([item], openapi_config=None, plugins=plugins)


if __name__ == "__main__":
    run(Service(name="bench", settings="starkeel:Settings", app="starkeel:create_app"))
