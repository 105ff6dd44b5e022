"""Requests without a `Host` header or with several (RFC 9112, 3.2)."""

from typing import Any

import pytest
from litestar import get
from litestar.config.cors import CORSConfig

HOST = (b"host", b"x.example")


@get("/")
async def hello() -> dict[str, int]:
    return {"id": 7}


@pytest.fixture(params=[{}, {"cors_config": CORSConfig(allow_origins=["https://a.example"])}])
def options(request: pytest.FixtureRequest) -> Any:
    """With Litestar's CORS, its exception handler is inside of other middleware and stays in place."""
    return request.param


@pytest.mark.parametrize("target", ["GET /", "GET /nowhere"])
@pytest.mark.parametrize(
    "headers", [[], [(b"host", b"")], [HOST, HOST], [HOST, (b"host", b"y.example")], [(b"host", b"a b")]]
)
async def test_a_request_needs_one_valid_host(drive: Any, headers: Any, target: str, options: Any) -> None:
    async with drive([hello], **options) as driver:
        statuses = [(await driver.request(target, headers=headers))[0]["status"] for _ in range(2)]

    assert statuses == [400, 400]


@pytest.mark.parametrize("version", ["1.0", "2"])
async def test_other_versions_than_1_1_need_no_host(drive: Any, version: str) -> None:
    async with drive([hello]) as driver:
        sent = await driver.request("GET /", headers=[], http_version=version)

    assert sent[0]["status"] == 200
