"""A service whose responses are pages of orders."""

from typing import Any
from uuid import UUID

from litestar import Litestar, Request, Response, get
from litestar.params import FromPath
from starkeel_config import ServiceSettings
from starkeel_http import HttpSettings, entity_tag, not_modified
from starkeel_server import ServerSettings, Service, build, run

SERVICE = Service(name="bench", settings="sample:Settings", app="sample:create_app")
_TAG = '"1"'


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of the sample."""

    server: ServerSettings
    http: HttpSettings


def _page(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": str(UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128)),
            "product_type": ("plank", "nail", "hammer")[number % 3],
            "quantity": number * 7919 % 1000,
            "status": "placed" if number % 5 else "cancelled",
            "created_at": f"2024-02-{number % 28 + 1:02}T12:{number % 60:02}:07.{number * 7919 % 10**6:06}Z",
        }
        for number in range(count)
    ]


_PAGES = {count: _page(count) for count in (10, 100, 1000)}


@get("/plain/{count:int}")
async def plain(count: FromPath[int]) -> list[dict[str, Any]]:
    return _PAGES[count]


@get("/version/{count:int}")
async def version(count: FromPath[int]) -> Response[list[dict[str, Any]]]:
    return Response(_PAGES[count], headers={"ETag": _TAG})


@get("/early/{count:int}")
async def early(count: FromPath[int], request: Request[Any, Any, Any]) -> Response[list[dict[str, Any]]]:
    return not_modified(request, etag=_TAG) or Response(_PAGES[count], headers={"ETag": _TAG})


@get("/body/{count:int}", opt=entity_tag())
async def body(count: FromPath[int]) -> list[dict[str, Any]]:
    return _PAGES[count]


def create_app(settings: Settings) -> Litestar:
    """Return the application."""
    return build(SERVICE, settings, handlers=[plain, version, early, body], openapi_config=None)


if __name__ == "__main__":
    run(SERVICE)
