"""Requests from inside: their peer is internal, and no proxy is between."""

from typing import Any

import pytest
from litestar import Litestar, Request, asgi, get
from starkeel_asgi import current, pipeline_of


@get("/")
async def is_internal(request: Request[Any, Any, Any]) -> bool:
    exchange = current(request.scope)
    assert exchange is not None
    return exchange.is_internal


async def call(
    app: Litestar, peer: tuple[str, int] | None, headers: list[tuple[bytes, bytes]], path: str = "/"
) -> bool:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"a"), *headers],
        "client": peer,
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    await app(scope, receive, send)
    return bool(sent[1]["body"] == b"true")


def application() -> Litestar:
    return Litestar([is_internal], on_startup=[pipeline_of])


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (("127.0.0.1", 1), True),
        (("127.8.8.8", 1), True),
        (("::1", 1), True),
        (("::ffff:127.0.0.1", 1), True),
        (("10.0.0.1", 1), False),
        (("::ffff:10.0.0.1", 1), False),
        (("12.7.0.1", 1), False),
        (("testclient", 1), False),
        (("", 1), False),
        (None, False),
    ],
)
async def test_only_loopback_is_internal_by_default(peer: Any, expected: bool) -> None:
    app = application()
    async with app.lifespan():
        assert await call(app, peer, []) is expected


@pytest.mark.parametrize(
    "header",
    [
        b"forwarded",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-original-forwarded-for",
        b"x-real-ip",
    ],
)
async def test_a_forwarded_request_is_not_internal(header: bytes) -> None:
    app = application()
    async with app.lifespan():
        assert not await call(app, ("127.0.0.1", 1), [(header, b"")])


async def test_a_mounted_application_takes_the_fact_of_the_outer_one() -> None:
    inner = application()

    @asgi("/inner", is_mount=True, copy_scope=True)
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    app = Litestar([mounted], on_startup=[pipeline_of])
    async with app.lifespan(), inner.lifespan():
        pipeline_of(app).config.is_internal = lambda address: address == "10.0.0.1"
        assert await call(app, ("10.0.0.1", 1), [], "/inner")
        assert not await call(app, ("127.0.0.1", 1), [], "/inner")
