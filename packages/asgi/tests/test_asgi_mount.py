"""Mounted applications: which of their layers apply, and how both exchanges work together."""

import asyncio
import time
from typing import Any

import pytest
from litestar import Litestar, Request, asgi, get, post
from starkeel_asgi import DeadlineQueue, GateOrder, HttpExchange, Response, current, pipeline_of


class Telemetry:
    """A layer of which the outermost wins."""

    order = 20

    def __init__(self, name: str, calls: list[str]) -> None:
        self._name = name
        self._calls = calls
        self.error: BaseException | None = None

    def begin(self, exchange: Any) -> None:
        self._calls.append(f"begin {self._name}")
        exchange.id = self._name

    def end(self, exchange: Any, error: BaseException | None) -> None:
        self._calls.append(f"end {self._name} {exchange.status}")
        self.error = exchange.error


class Limits:
    """A layer with settings of each application."""

    order = 30
    applies_when_mounted = True

    def __init__(self, max_bytes: int, deadline_s: float, header: bytes | None = None) -> None:
        self._max_bytes = max_bytes
        self._deadline_s = deadline_s
        self._header = header

    def begin(self, exchange: Any) -> None:
        exchange.max_body_bytes = self._max_bytes
        exchange.set_deadline(DeadlineQueue(self._deadline_s))
        if self._header is not None:
            exchange.added_headers = ((b"access-control-allow-origin", self._header),)

    def end(self, exchange: Any, error: BaseException | None) -> None:
        exchange.lift_deadline()

    async def conclude(self, exchange: Any, error: BaseException | None) -> BaseException | None:
        if not exchange.is_expired or not exchange.is_cancelled_by_deadline_alone():
            return error
        await exchange.respond(504, [(b"x-expired", repr(self._deadline_s).encode())], b"")
        return None


@post("/echo", status_code=200)
async def echo(request: Request[Any, Any, Any]) -> bytes:
    return await request.body()


@get("/hangs")
async def hangs() -> None:
    await asyncio.Event().wait()


@get("/left")
async def left(request: Request[Any, Any, Any]) -> dict[str, float | str]:
    exchange = current(request.scope)
    assert exchange is not None
    return {
        "left": request.scope["state"]["deadline"] - time.monotonic(),
        "id": exchange.id,
        "path": exchange.path,
    }


@get("/fails")
async def fails() -> None:
    raise ValueError("hunter2")


HANDLERS = [echo, hangs, left, fails]


def _mounted(*layers: Any, handlers: Any = HANDLERS) -> tuple[Litestar, Any]:
    inner = Litestar(handlers, openapi_config=None)
    for layer in layers:
        pipeline_of(inner).add(layer)

    @asgi("/inner", is_mount=True, copy_scope=True)
    async def mount(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    return inner, mount


def _statuses(sent: list[Any]) -> list[int]:
    return [message["status"] for message in sent if message["type"] == "http.response.start"]


@pytest.mark.parametrize(("outer_bytes", "inner_bytes"), [(100, 4), (4, 100)])
async def test_the_stricter_body_limit_applies(drive: Any, outer_bytes: int, inner_bytes: int) -> None:
    _, mount = _mounted(Limits(inner_bytes, 60))
    async with drive([mount, *HANDLERS], Limits(outer_bytes, 60)) as driver:
        small = _statuses(await driver.request("POST /inner/echo", b"body"))
        large = _statuses(await driver.request("POST /inner/echo", b"larger"))
        outside = _statuses(await driver.request("POST /echo", b"larger"))

    assert (small, large) == ([200], [413])
    assert outside == ([200] if outer_bytes == 100 else [413])


@pytest.mark.parametrize(("outer_s", "inner_s"), [(60, 0.01), (0.01, 60)])
async def test_the_earlier_deadline_applies(drive: Any, outer_s: float, inner_s: float) -> None:
    _, mount = _mounted(Limits(100, inner_s))
    async with drive([mount], Limits(100, outer_s)) as driver:
        sent = await asyncio.wait_for(driver.request("GET /inner/hangs"), timeout=10)

    assert _statuses(sent) == [504]
    assert (b"x-expired", b"0.01") in sent[0]["headers"]


async def test_a_commit_of_the_mounted_application_is_finished_when_the_outer_deadline_passes(
    drive: Any,
) -> None:
    async def commit(_: Response) -> None:
        passed = asyncio.Event()
        # Timers fire in the order of their times.
        asyncio.get_running_loop().call_later(0.05, passed.set)
        await passed.wait()

    @get("/commits")
    async def commits(request: Request[Any, Any, Any]) -> str:
        exchange = current(request.scope)
        assert isinstance(exchange, HttpExchange)
        exchange.add_gate(commit, GateOrder.COMMIT)
        return "committed"

    _, mount = _mounted(Limits(100, 60), handlers=[commits])
    async with drive([mount], Limits(100, 0.01)) as driver:
        sent = await driver.request("GET /inner/commits")

    assert (_statuses(sent), sent[1]["body"]) == ([200], b"committed")


async def test_the_deadline_of_the_outer_application_is_not_extended(drive: Any) -> None:
    _, mount = _mounted(Limits(100, 600))
    async with drive([mount], Limits(100, 60), Telemetry("outer", [])) as driver:
        (_, body) = await driver.request("GET /inner/left")

    assert body["body"].endswith(b'"id":"outer","path":"/inner/left"}')
    assert float(body["body"].split(b":")[1].split(b",")[0]) < 61


async def test_of_other_layers_the_outermost_wins(drive: Any) -> None:
    calls: list[str] = []
    _, mount = _mounted(Telemetry("inner", calls), Limits(100, 60))
    outer = Telemetry("outer", calls)
    async with drive([mount], outer) as driver:
        await driver.request("GET /inner/left")
        await driver.request("GET /inner/fails")

    assert calls == ["begin outer", "end outer 200", "begin outer", "end outer 500"]
    assert isinstance(outer.error, ValueError)


async def test_a_layer_that_the_outer_application_lacks_applies(drive: Any) -> None:
    calls: list[str] = []
    _, mount = _mounted(Telemetry("inner", calls))
    async with drive([mount], Limits(100, 60)) as driver:
        await driver.request("GET /inner/left")

    assert calls == ["begin inner", "end inner 200"]


async def test_headers_of_the_mounted_application_replace_those_of_the_outer(drive: Any) -> None:
    inner, mount = _mounted(Limits(100, 60, b"https://inner.example"))
    async with drive([mount, *HANDLERS], Limits(100, 60, b"https://outer.example")) as driver:
        responses = [await driver.request(target) for target in ("GET /inner/left", "GET /left")]

    origins = [[v for n, v in sent[0]["headers"] if n.startswith(b"access-control")] for sent in responses]
    assert origins == [[b"https://inner.example"], [b"https://outer.example"]]
    assert not pipeline_of(inner).open_exchanges()
