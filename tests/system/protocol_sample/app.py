import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import msgspec
import structlog
from litestar import Litestar, Request, Response, WebSocket, asgi, get, post, put, websocket
from litestar.enums import RequestEncodingType
from litestar.params import Body, FromPath, JSONBody
from litestar.response import ServerSentEvent, Stream
from litestar.types import Receive, Scope, Send
from opentelemetry import trace
from starkeel_http import limit_by_address, request_timeout
from starkeel_server import build

from . import SERVICE

log = structlog.get_logger(__name__)


class Item(msgspec.Struct):
    name: str


@get("/")
async def root() -> str:
    return "root"


@get("/items/{item_id:int}")
async def read(item_id: FromPath[int]) -> Item:
    return Item(name=str(item_id))


@put("/items/{item_id:int}")
async def replace(item_id: FromPath[int], data: JSONBody[Item]) -> Item:
    return data


@get("/names/{name:str}")
async def by_name(name: FromPath[str]) -> str:
    return name


@get("/names/{number:int}/size")
async def size(number: FromPath[int]) -> int:
    return number


@post("/items")
async def create(data: JSONBody[Item]) -> Item:
    return data


@post("/forms")
async def form(data: Annotated[dict[str, str], Body(media_type=RequestEncodingType.URL_ENCODED)]) -> int:
    return len(data)


@post("/raw")
async def raw(request: Request[Any, Any, Any]) -> int:
    return len(await request.body())


@post("/slow-raw")
async def slow_raw(request: Request[Any, Any, Any]) -> int:
    """Read the body late, when the server has looked for a disconnect already."""
    await asyncio.sleep(0.3)
    return len(await request.body())


@post("/unread", status_code=200)
async def unread() -> str:
    return "unread"


@get("/nothing", status_code=204)
async def nothing() -> None:
    return None


@get("/reset", status_code=205)
async def reset() -> Response[None]:
    return Response(None, status_code=205)


@get("/stream")
async def stream() -> Stream:
    async def chunks() -> AsyncGenerator[bytes]:
        yield b"one"
        yield b"two"

    return Stream(chunks)


@get("/events")
async def events() -> ServerSentEvent:
    async def messages() -> AsyncGenerator[str]:
        try:
            while True:
                yield "tick"
                await asyncio.sleep(0.05)
        finally:
            log.info("events ended")

    return ServerSentEvent(messages())


@get("/seen")
async def seen(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Return what the application receives, and use the span, so that it is created."""
    log.info("request seen")
    span: Any = trace.get_current_span()
    span.set_attribute("sample.client", str(request.client and request.client.host))
    return {
        "client": request.client and request.client.host,
        "scheme": request.scope["scheme"],
        "trace_id": f"{span.get_span_context().trace_id:032x}",
    }


@get("/limited", opt=limit_by_address("sample"))
async def limited() -> str:
    return "within"


@get("/fails/{name:str}")
async def fails(name: FromPath[str]) -> None:
    raise RuntimeError(name)


@get("/late", opt=request_timeout(0.2))
async def late() -> None:
    await asyncio.sleep(60)


@get("/slow")
async def slow() -> str:
    await asyncio.sleep(0.3)
    return "slow"


@websocket("/socket")
async def socket(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.close()


@asgi("/files", is_mount=True, copy_scope=True)
async def files(scope: Scope, receive: Receive, send: Send) -> None:
    """An application of its own, which reads the rest of the path."""
    body = scope["path"].encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})  # type: ignore[typeddict-item]
    await send({"type": "http.response.body", "body": body, "more_body": False})


@get("/broken-stream")
async def broken_stream() -> Stream:
    async def chunks() -> AsyncGenerator[bytes]:
        raise RuntimeError("the first part")
        yield b""

    return Stream(chunks)


@get("/header/{value:str}")
async def header(value: FromPath[str]) -> Response[str]:
    """Send what a client has sent in a header."""
    return Response("", headers={"X-Value": value})


_START: Any = {"type": "http.response.start", "status": 200, "headers": []}
_END: Any = {"type": "http.response.body", "body": b"", "more_body": False}
BROKEN: dict[str, list[Any]] = {
    "header-value": [_START | {"headers": [(b"x-a", b"a\r\nb: c")]}, _END],
    "header-name": [_START | {"headers": [(b"x a", b"a")]}, _END],
    "header-text": [_START | {"headers": [("x-a", "a")]}, _END],
    "status-1000": [_START | {"status": 1000}, _END],
    "status-99": [_START | {"status": 99}, _END],
    "status-text": [_START | {"status": "200"}, _END],
    "nothing": [],
    "start-only": [_START],
    "body-first": [_END],
    "twice": [_START, _START, _END],
}
"""Messages of applications that do not follow ASGI or HTTP."""


@asgi("/broken", is_mount=True, copy_scope=True)
async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    for message in BROKEN[scope["path"].strip("/")]:
        await send(message)


def create_app(settings: Any) -> Litestar:
    handlers = [
        broken,
        broken_stream,
        by_name,
        create,
        events,
        fails,
        files,
        form,
        header,
        late,
        limited,
        nothing,
        raw,
        read,
        replace,
        reset,
        root,
        seen,
        size,
        slow,
        slow_raw,
        socket,
        stream,
        unread,
    ]
    return build(SERVICE, settings, handlers=handlers)
