"""The end of an exchange: layers that fail, clients that are gone, and references that are dropped."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar import Request, asgi, get, post
from litestar.response import Stream
from starkeel_asgi import DeadlineQueue, current

CLIENT_IS_GONE = OSError("the client is gone")


class Recorder:
    """A layer that records its calls."""

    def __init__(self, order: int, calls: list[str]) -> None:
        self.order = order
        self.calls = calls
        self.exchange: Any = None

    def begin(self, exchange: Any) -> None:
        self.calls.append(f"begin {self.order}")
        self.exchange = exchange

    def end(self, exchange: Any, error: BaseException | None) -> None:
        self.calls.append(f"end {self.order}")

    async def conclude(self, exchange: Any, error: BaseException | None) -> BaseException | None:
        self.calls.append(f"conclude {self.order}")
        return error


class FailsToBegin(Recorder):
    def begin(self, exchange: Any) -> None:
        super().begin(exchange)
        raise ValueError("hunter2")


@get("/")
async def hello() -> dict[str, int]:
    return {"id": 7}


async def test_only_layers_that_have_begun_end(drive: Any) -> None:
    calls: list[str] = []
    layers = [Recorder(0, calls), Recorder(1, calls), FailsToBegin(2, calls), Recorder(3, calls)]
    async with drive([hello], *layers) as driver:
        sent = await driver.request("GET /")

    assert [message.get("status") for message in sent] == [500, None]
    assert b"hunter2" not in sent[1]["body"]
    assert calls == [
        *("begin 0", "begin 1", "begin 2"),
        *("conclude 1", "conclude 0", "end 1", "end 0"),
    ]


async def test_a_layer_added_meanwhile_does_not_end_what_it_did_not_begin(drive: Any) -> None:
    calls: list[str] = []

    @get("/adds")
    async def adds() -> None:
        driver.pipeline.add(Recorder(1, calls))

    async with drive([adds], Recorder(0, calls)) as driver:
        await driver.request("GET /adds")

    assert calls == ["begin 0", "end 0"]


@pytest.mark.parametrize("failing", ["http.response.start", "http.response.body"])
async def test_a_client_that_is_gone_ends_the_exchange_once(drive: Any, failing: str) -> None:
    calls: list[str] = []

    async def cleanup() -> None:
        calls.append("cleanup")

    @asgi("/stream", is_mount=True, copy_scope=True)
    async def stream(scope: Any, receive: Any, send: Any) -> None:
        exchange = current(scope)
        assert exchange is not None
        exchange.set_deadline(queue)
        exchange.add_cleanup(cleanup)
        try:
            await send({"type": "http.response.start", "status": 200})
            while True:
                await send({"type": "http.response.body", "body": b"part", "more_body": True})
        finally:
            calls.append("handler left")

    async def send(message: Any) -> None:
        if message["type"] == failing:
            raise CLIENT_IS_GONE

    async with drive([stream], Recorder(0, calls)) as driver:
        queue = DeadlineQueue(60)
        with pytest.raises(OSError, match="gone") as raised:
            await driver.request("GET /stream", send=send)

    assert raised.value is CLIENT_IS_GONE
    assert calls == ["begin 0", "handler left", "cleanup", "conclude 0", "end 0"]
    assert not driver.pipeline.open_exchanges()
    assert not queue._times


async def test_a_stream_that_is_ended_after_its_client_is_gone_ends_the_exchange(drive: Any) -> None:
    calls: list[str] = []
    layer = Recorder(0, calls)

    @get("/events")
    async def events() -> Stream:
        async def parts() -> AsyncIterator[bytes]:
            yield b"part"
            layer.exchange.end()
            raise ValueError

        return Stream(parts(), media_type="text/event-stream")

    async def send(message: Any) -> None:
        if not message.get("more_body", True):
            raise CLIENT_IS_GONE

    async with drive([events], layer) as driver:
        with pytest.raises(Exception, match=r".*"):
            await driver.request("GET /events", send=send)

    assert calls == ["begin 0", "conclude 0", "end 0"]
    assert not driver.pipeline.open_exchanges()


async def test_a_handler_whose_client_is_gone_is_aborted(drive: Any) -> None:
    calls: list[str] = []
    is_running = asyncio.Event()
    layer = Recorder(0, calls)

    @get("/hangs")
    async def hangs() -> None:
        is_running.set()
        try:
            await asyncio.Event().wait()
        finally:
            calls.append("handler cancelled")

    async def send(_: Any) -> None:
        raise CLIENT_IS_GONE

    async with drive([hangs], layer) as driver:
        request = asyncio.ensure_future(driver.request("GET /hangs", send=send))
        await is_running.wait()
        await layer.exchange.abort()
        await asyncio.wait_for(request, timeout=10)
        # A second time, as a drain may find it late.
        await layer.exchange.abort()

    assert calls == ["begin 0", "handler cancelled", "end 0"]


class Scope(dict[str, Any]):
    """A scope to which weak references are possible."""


@post("/echo")
async def echo(request: Request[Any, Any, Any]) -> bytes:
    return await request.body()


@post("/fails")
async def fails(request: Request[Any, Any, Any]) -> None:
    await request.body()
    raise ValueError("hunter2")


async def _send_with_references(driver: Any, path: str) -> list[Any]:
    """Send a request and return weak references to what the server holds."""
    scope = Scope(driver.scope(f"POST {path}"))

    async def receive() -> Any:
        return {"type": "http.request", "body": b"body", "more_body": False}

    async def send(_: Any) -> None: ...

    await driver.app(scope, receive, send)
    return [weakref.ref(held) for held in (scope, receive, send)]


@pytest.mark.parametrize("path", ["/echo", "/fails"])
async def test_an_exchange_that_has_ended_keeps_neither_scope_nor_body(drive: Any, path: str) -> None:
    layer = Recorder(0, [])
    async with drive([echo, fails], layer) as driver:
        references = await _send_with_references(driver, path)
        gc.collect()

    assert layer.exchange.path == path
    assert [reference() for reference in references] == [None, None, None]


async def test_an_exchange_that_has_ended_sends_and_receives_nothing(drive: Any) -> None:
    layer = Recorder(0, [])
    async with drive([hello], layer) as driver:
        sent = await driver.request("GET /")
        count = len(sent)
        await layer.exchange.send({"type": "http.response.start", "status": 200, "headers": []})

    assert len(sent) == count
    assert await layer.exchange.receive() == {"type": "http.disconnect"}
