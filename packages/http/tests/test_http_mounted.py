"""An application with an HttpPlugin of its own, mounted in another one."""

from typing import Any

import pytest
from litestar import Litestar, Request, asgi, get, post
from litestar.testing import AsyncTestClient
from starkeel_http import HttpPlugin, HttpSettings, Origin, Rate, limit_by_address

INNER_ORIGIN, OUTER_ORIGIN = "https://inner.example", "https://outer.example"


@post("/echo", status_code=200)
async def echo(request: Request[Any, Any, Any]) -> bytes:
    return await request.body()


@get("/limited", opt=limit_by_address("few"))
async def limited() -> str:
    return "passed"


def _plugin(limit: str, *, max_body_bytes: int, origin: str) -> HttpPlugin:
    settings = HttpSettings(max_body_bytes=max_body_bytes, cors_allowed_origins=(Origin(origin),))
    return HttpPlugin(settings, {"few": Rate.parse(limit)})


@pytest.fixture
def application() -> Litestar:
    inner = Litestar(
        [echo, limited],
        plugins=[_plugin("2/hour", max_body_bytes=4, origin=INNER_ORIGIN)],
        openapi_config=None,
    )

    @asgi("/inner", is_mount=True, copy_scope=True)
    async def mount(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    return Litestar(
        [mount, echo, limited],
        plugins=[_plugin("3/hour", max_body_bytes=8, origin=OUTER_ORIGIN)],
        lifespan=[lambda _: inner.lifespan()],
        openapi_config=None,
    )


async def test_stricter_limits_of_a_mounted_application_apply(application: Litestar) -> None:
    async with AsyncTestClient(application) as client:
        sizes = {
            path: [(await client.post(path, content=b"x" * size)).status_code for size in (4, 6, 9)]
            for path in ("/echo", "/inner/echo")
        }
        rates = {
            path: [(await client.get(path)).status_code for _ in range(4)]
            for path in ("/limited", "/inner/limited")
        }

    assert sizes == {"/echo": [200, 200, 413], "/inner/echo": [200, 413, 413]}
    assert rates == {"/limited": [200, 200, 200, 429], "/inner/limited": [200, 200, 429, 429]}


@pytest.mark.parametrize(("path", "allowed"), [("/inner/echo", INNER_ORIGIN), ("/echo", OUTER_ORIGIN)])
async def test_each_application_has_its_origins(application: Litestar, path: str, allowed: str) -> None:
    async with AsyncTestClient(application) as client:
        origins = [
            (await client.post(path, headers={"Origin": origin})).headers.get_list(
                "access-control-allow-origin"
            )
            for origin in (INNER_ORIGIN, OUTER_ORIGIN)
        ]

    assert origins == [[allowed] if origin == allowed else [] for origin in (INNER_ORIGIN, OUTER_ORIGIN)]
