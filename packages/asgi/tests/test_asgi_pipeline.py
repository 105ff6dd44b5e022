"""The pipeline around an application: order of layers, facts, headers, gates and errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import starkeel_asgi._compat as compat
from litestar import Litestar, Request, asgi, get, post
from litestar.config.cors import CORSConfig
from litestar.params import FromPath
from litestar.response import ServerSentEvent
from starkeel_asgi import GateOrder, HttpExchange, Response, current, header_map, pipeline_of

JSON = (b"content-type", b"application/json")


class Recorder:
    """A layer that records its calls."""

    def __init__(self, name: str, order: int, calls: list[str]) -> None:
        self.order = order
        self._name = name
        self._calls = calls

    def begin(self, exchange: Any) -> None:
        self._calls.append(f"begin {self._name}")

    def end(self, exchange: Any, error: BaseException | None) -> None:
        outcome = "" if error is None else f" {type(error).__name__}"
        self._calls.append(f"end {self._name} {exchange.status}{outcome}")


@get("/items/{item_id:int}")
async def item(item_id: FromPath[int]) -> dict[str, int]:
    return {"id": item_id}


@post("/echo")
async def echo(request: Request[Any, Any, Any]) -> bytes:
    return await request.body()


@get("/fails")
async def fails() -> None:
    raise ValueError("hunter2")


@get("/events")
async def events() -> ServerSentEvent:
    async def forever() -> AsyncIterator[str]:
        yield "one"

    return ServerSentEvent(forever())


@asgi("/raw", is_mount=True, copy_scope=True)
async def raw(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    if "file" in scope["path"]:
        await send({"type": "http.response.pathsend", "path": "/dev/null"})
    else:
        await send({"type": "http.response.body", "body": b"raw"})


class Client:
    """Sends requests to an application without a server."""

    def __init__(self, app: Litestar) -> None:
        self._app = app
        self.scopes: list[Any] = []

    async def send(self, method: str, path: str, *chunks: bytes, headers: Any = ()) -> list[Any]:
        messages: list[Any] = [
            {"type": "http.request", "body": chunk, "more_body": number < len(chunks) - 1}
            for number, chunk in enumerate(chunks or (b"",))
        ]
        sent: list[Any] = []

        async def receive() -> Any:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope: Any = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [*headers, (b"host", b"x")],
            "client": ("192.0.2.1", 5),
            "server": ("127.0.0.1", 80),
            "scheme": "http",
            "http_version": "1.1",
            "root_path": "",
        }
        self.scopes.append(scope)
        await self._app(scope, receive, send)
        return sent


@asynccontextmanager
async def client_of(*layers: Any, **options: Any) -> AsyncIterator[Client]:
    def add(app: Litestar) -> None:
        for layer in layers:
            pipeline_of(app).add(layer)

    app = Litestar([item, echo, fails, events, raw], on_startup=[pipeline_of, add], **options)
    async with app.lifespan():
        yield Client(app)


@pytest.fixture(params=[{}, {"cors_config": CORSConfig(allow_origins=["https://a.example"])}])
def options(request: pytest.FixtureRequest) -> Any:
    """With Litestar's CORS, its exception handler is inside of other middleware and stays in place."""
    return request.param


async def test_layers_run_in_order_and_end_in_reverse(options: Any) -> None:
    calls: list[str] = []
    async with client_of(Recorder("inner", 30, calls), Recorder("outer", 10, calls), **options) as client:
        await client.send("GET", "/items/7")

    assert calls == ["begin outer", "begin inner", "end inner 200", "end outer 200"]


@pytest.mark.parametrize(("path", "status"), [("/fails", 500), ("/nowhere", 404), ("/items/x", 404)])
async def test_layers_see_the_response_to_an_exception(path: str, status: int, options: Any) -> None:
    calls: list[str] = []
    async with client_of(Recorder("layer", 10, calls), **options) as client:
        sent = await client.send("GET", path)

    assert sent[0]["status"] == status
    assert b"hunter2" not in sent[1]["body"]
    assert calls == ["begin layer", f"end layer {status}"]


async def test_the_route_is_found_before_the_layers_run() -> None:
    templates: list[str | None] = []

    class Layer(Recorder):
        def begin(self, exchange: Any) -> None:
            templates.append(None if exchange.route is None else exchange.route.template)

    async with client_of(Layer("", 0, [])) as client:
        for request in ("GET /items/7", "GET /items/8", "PUT /items/7", "GET /nowhere"):
            await client.send(*request.split())

    assert templates == ["/items/{item_id}", "/items/{item_id}", None, None]


async def test_a_router_that_is_not_known_serves_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async with client_of() as client:
        direct = [await client.send("GET", path) for path in ("/items/7", "/nowhere", "/fails", "/raw/x")]
    monkeypatch.setattr(compat, "_KNOWN_ROUTERS", frozenset())
    async with client_of() as client:
        through_router = [
            await client.send("GET", path) for path in ("/items/7", "/nowhere", "/fails", "/raw/x")
        ]

    assert direct == through_router


async def test_an_invalid_host_is_rejected_each_time() -> None:
    async with client_of() as client:
        responses = [await client.send("GET", "/items/7", headers=[(b"host", b"a b")]) for _ in range(2)]

    assert [sent[0]["status"] for sent in responses] == [400, 400]


async def test_default_headers_do_not_replace_those_of_the_response() -> None:
    def configure(app: Litestar) -> None:
        headers = ((b"content-type", b"x/y"), (b"x-frame-options", b"DENY"))
        pipeline_of(app).config.set_default_headers(headers)

    async with client_of(on_shutdown=[]) as client:
        configure(client._app)
        (start, _) = await client.send("GET", "/items/7")
        (bare, _) = await client.send("GET", "/raw/x")

    assert [value for name, value in start["headers"] if name == b"content-type"] == [JSON[1]]
    assert (b"x-frame-options", b"DENY") in start["headers"]
    assert bare["headers"] == [(b"content-type", b"x/y"), (b"x-frame-options", b"DENY")]


class Gated(Recorder):
    """A layer whose gates are given."""

    def __init__(self, *gates: Any, is_buffered: bool = False) -> None:
        super().__init__("", 0, [])
        self._gates = gates
        self._is_buffered = is_buffered

    def begin(self, exchange: HttpExchange) -> None:
        if self._is_buffered:
            exchange.buffer_response(lambda status: status < 400)
        for gate, order in self._gates:
            exchange.add_gate(gate, order)


async def test_gates_run_in_their_order_before_the_response_starts() -> None:
    calls: list[str] = []

    def gate(name: str) -> Any:
        async def run(response: Response) -> None:
            calls.append(f"{name} {response.status} {response.body!r}")

        return run

    layer = Gated((gate("commit"), GateOrder.COMMIT), (gate("store"), GateOrder.STORE), is_buffered=True)
    async with client_of(layer) as client:
        sent = await client.send("GET", "/items/7")

    assert calls == ["store 200 b'{\"id\":7}'", "commit 200 b'{\"id\":7}'"]
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


async def test_a_gate_that_raises_leaves_the_response_unsent(options: Any) -> None:
    statuses: list[int] = []

    async def refuse(response: Response) -> None:
        statuses.append(response.status)
        if response.status < 400:
            raise ValueError("hunter2")

    async with client_of(Gated((refuse, GateOrder.COMMIT)), **options) as client:
        sent = await client.send("GET", "/items/7")

    assert statuses == [200, 500]
    assert [message.get("status") for message in sent] == [500, None]
    assert b"hunter2" not in sent[1]["body"]


async def test_a_layer_that_fails_at_the_end_does_not_stop_the_others() -> None:
    calls: list[str] = []

    class Failing(Recorder):
        def end(self, exchange: Any, error: BaseException | None) -> None:
            raise ValueError("hunter2")

    async with client_of(Recorder("outer", 10, calls), Failing("inner", 20, calls)) as client:
        sent = await client.send("GET", "/items/7")

    assert sent[0]["status"] == 200
    assert calls == ["begin outer", "begin inner", "end outer 200"]


async def test_a_response_that_cannot_be_held_back_starts_before_its_body() -> None:
    async def keep(_: Response) -> None: ...

    async with client_of(Gated((keep, GateOrder.STORE), is_buffered=True)) as client:
        sent = await client.send("GET", "/raw/file")

    assert [message["type"] for message in sent] == ["http.response.start", "http.response.pathsend"]


async def test_a_body_is_delivered_in_its_parts_and_counted() -> None:
    sizes: list[int] = []

    class Limit(Recorder):
        def begin(self, exchange: Any) -> None:
            exchange.max_body_bytes = 6

        def end(self, exchange: Any, error: BaseException | None) -> None:
            sizes.append(exchange.sent_bytes)

    async with client_of(Limit("", 0, [])) as client:
        small = await client.send("POST", "/echo", b"abc", b"def")
        large = await client.send("POST", "/echo", b"abc", b"defg")

    assert (small[0]["status"], small[1]["body"]) == (201, b"abcdef")
    assert large[0]["status"] == 413
    assert sizes == [6, len(large[1]["body"])]


async def test_nothing_of_an_exchange_stays_in_the_scope() -> None:
    async with client_of() as client:
        for path in ("/items/7", "/fails", "/nowhere", "/events", "/raw/x"):
            await client.send("GET", path)

    assert [current(scope) for scope in client.scopes] == [None] * 5


def test_repeated_headers_are_joined_and_none_is_dropped() -> None:
    assert header_map([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]) == {b"a": b"1, 3", b"b": b"2"}
    assert header_map([(b"cookie", b"a=1"), (b"cookie", b"b=2")]) == {b"cookie": b"a=1; b=2"}
