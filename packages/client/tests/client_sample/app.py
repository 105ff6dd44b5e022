from litestar import Litestar, Response, get
from litestar.di import NamedDependency
from starkeel_client import UpstreamClient, UpstreamSettings, upstream
from starkeel_config import ServiceSettings
from starkeel_http import HttpSettings
from starkeel_observability import ObservabilitySettings
from starkeel_server import ServerSettings, build


class SampleSettings(ServiceSettings, frozen=True, kw_only=True):
    """A service with one upstream."""

    observability: ObservabilitySettings
    server: ServerSettings
    http: HttpSettings
    accounts: UpstreamSettings = upstream("ACCOUNTS")


@get("/call")
async def call(accounts_client: NamedDependency[UpstreamClient]) -> Response[bytes]:
    response = await accounts_client.get("/users/7", route="/users/{id}")
    return Response(response.content, status_code=response.status_code, media_type="text/plain")


def create_app(settings: SampleSettings) -> Litestar:
    from .__main__ import SERVICE

    return build(SERVICE, settings, handlers=[call])
