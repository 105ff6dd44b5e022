"""Timeouts of the request body, and timeouts of server and application."""

import asyncio
from typing import Any

import pytest
from litestar import Request, get, post

BODY_TIMEOUT_S = 0.01


class BodyTimeout:
    """A layer that limits the time of the body."""

    order = 0

    def __init__(self, timeout_s: float | None = BODY_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self.errors: list[BaseException | None] = []

    def begin(self, exchange: Any) -> None:
        exchange.body_timeout_s = self._timeout_s

    def end(self, exchange: Any, error: BaseException | None) -> None:
        self.errors.append(exchange.error)


@post("/echo", status_code=200)
async def echo(request: Request[Any, Any, Any]) -> bytes:
    return await request.body()


async def test_a_body_that_does_not_arrive_is_refused_and_its_connection_closed(drive: Any) -> None:
    async def receive() -> Any:
        await asyncio.Event().wait()

    async with drive([echo], BodyTimeout()) as driver:
        sent = await driver.request("POST /echo", receive=receive)

    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


async def test_a_timeout_of_the_server_is_not_one_of_the_body(drive: Any) -> None:
    async def receive() -> Any:
        raise TimeoutError("of the server")

    layer = BodyTimeout(60)
    async with drive([echo], layer) as driver:
        sent = await driver.request("POST /echo", receive=receive)

    assert sent[0]["status"] == 500
    assert (b"connection", b"close") not in sent[0]["headers"]
    assert repr(layer.errors) == "[TimeoutError('of the server')]"


@pytest.mark.parametrize("timeout_s", [None, 60])
async def test_a_timeout_of_the_application_is_an_error(drive: Any, timeout_s: float | None) -> None:
    @get("/times-out")
    async def times_out() -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    layer = BodyTimeout(timeout_s)
    async with drive([times_out], layer) as driver:
        sent = await driver.request("GET /times-out")

    assert sent[0]["status"] == 500
    assert isinstance(layer.errors[0], TimeoutError)


def test_an_application_may_serve_in_another_event_loop(drive: Any) -> None:
    async def serve() -> Any:
        async with drive([echo], BodyTimeout(60)) as driver:
            await driver.request("POST /echo", b"body")
            return driver

    driver = asyncio.run(serve())
    sent = asyncio.run(driver.request("POST /echo", b"body"))

    assert (sent[0]["status"], sent[1]["body"]) == (200, b"body")


async def test_a_server_that_repeats_the_end_of_the_body_is_not_read_for_ever(drive: Any) -> None:
    calls = 0
    is_repeated = asyncio.Event()

    async def receive() -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            is_repeated.set()
        return {"type": "http.request", "body": b"", "more_body": False}

    @get("/slow")
    async def slow() -> None:
        await is_repeated.wait()
        for _ in range(100):
            await asyncio.sleep(0)

    async with drive([slow]) as driver:
        sent = await driver.request("GET /slow", receive=receive)

    assert sent[0]["status"] == 200
    assert calls == 2
