"""The handler on the whole chassis: telemetry, HTTP edge, and the server with drain and supervision."""

from litestar import Litestar
from litestar_bare import item
from starkeel_config import ServiceSettings
from starkeel_http import HttpSettings
from starkeel_observability import ObservabilitySettings
from starkeel_server import ServerSettings, Service, build, run

SERVICE = Service(name="bench", settings="starkeel:Settings", app="starkeel:create_app")


class Settings(ServiceSettings, frozen=True, kw_only=True):
    observability: ObservabilitySettings
    server: ServerSettings
    http: HttpSettings


def create_app(settings: Settings) -> Litestar:
    return build(SERVICE, settings, handlers=[item], openapi_config=None)


if __name__ == "__main__":
    run(SERVICE)
