import asyncio
import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import structlog
from litestar import Litestar, Request, Response, WebSocket, get, head, post, put, websocket
from litestar.connection import ASGIConnection
from litestar.exceptions import (
    ClientException,
    InternalServerException,
    NotAuthorizedException,
    ServiceUnavailableException,
    ValidationException,
)
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import Components, SecurityScheme
from litestar.params import HeaderParameter, JSONBody, QueryParameter
from litestar.plugins import InitPlugin
from litestar.response import ServerSentEvent, Stream
from msgspec import Meta
from starkeel_asgi import LayerOrder, pipeline_of
from starkeel_http import HttpPlugin, limit_by_address, limit_by_user, openapi
from starkeel_server import ServerPlugin

from .documents import document, replace_document, streamed_document
from .large_routes import LARGE_ROUTES
from .live_routes import LIVE_HANDLERS
from .load_routes import LOAD_HANDLERS
from .settings import JsonLogging
from .slow_routes import SLOW_HANDLERS

log = structlog.get_logger("http_sample")


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    quantity: Annotated[int, Meta(ge=1, le=1000)]
    name: Annotated[str, Meta(max_length=20)] = ""
    kind: Literal["plank", "nail"] = "plank"
    parts: list[Annotated[int, Meta(ge=0)]] = []
    flag: bool = False
    weight: float = 1.0


@dataclass
class Point:
    x: int


class User(NamedTuple):
    subject: str


class SampleTelemetry:
    """Binds request ids and logs outcomes, as the telemetry layer does."""

    order = LayerOrder.TELEMETRY

    def begin(self, exchange: Any) -> None:
        request_id = exchange.headers.get(b"x-request-id", b"generated").decode()
        exchange.context = structlog.contextvars.bind_contextvars(request_id=request_id)

    def end(self, exchange: Any, error: BaseException | None) -> None:
        outcome = "returned" if error is None else type(error).__name__
        error_type = exchange.scope["state"].get("error_type")
        log.info("request finished", path=exchange.path, outcome=outcome, error_type=error_type)
        structlog.contextvars.reset_contextvars(**exchange.context)


class Logging(InitPlugin):
    """Logs as JSON, and adds the telemetry layer."""

    def start_process(self, **kwargs: Any) -> None:
        JsonLogging().start_process(**kwargs)

    def on_app_init(self, app_config: Any) -> Any:
        def add(app: Litestar) -> None:
            pipeline_of(app).add(SampleTelemetry())

        app_config.on_startup.append(add)
        return app_config


async def authenticate(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    user = connection.headers.get("x-user")
    if not user:
        raise NotAuthorizedException("`X-User` is required.", headers={"WWW-Authenticate": "Sample"})
    connection.scope["user"] = User(user)


@post("/items")
async def create_item(data: JSONBody[Item]) -> Item:
    return data


@post("/points")
async def points(data: JSONBody[list[Point]]) -> int:
    return sum(point.x for point in data)


@post("/raw")
async def raw(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return {"got": await request.json()}


@put("/upload", request_max_body_size=4_000_000)
async def upload(request: Request[Any, Any, Any]) -> int:
    return len(await request.body())


@get("/query")
async def query(
    limit: Annotated[int, QueryParameter(ge=1, le=100)],
    tag: Annotated[str | None, HeaderParameter(name="X-Tag", max_length=3)] = None,
) -> int:
    return limit


@get("/broken-stream")
async def broken_stream() -> Stream:
    async def chunks() -> AsyncGenerator[bytes]:
        yield b"half"
        raise RuntimeError("the stream broke")

    return Stream(chunks)


@websocket("/socket-broken")
async def socket_broken(socket: WebSocket) -> None:  # type: ignore[type-arg]
    await socket.accept()
    raise InternalServerException("the password is hunter2")


@get("/follow", guards=[authenticate])
async def follow() -> ServerSentEvent:
    async def ticks() -> AsyncGenerator[str]:
        while True:
            yield "tick"
            await asyncio.sleep(0.05)

    return ServerSentEvent(ticks())


@websocket("/follow-socket", guards=[authenticate])
async def follow_socket(socket: WebSocket) -> None:  # type: ignore[type-arg]
    await socket.accept()
    await socket.send_text("tick")
    await socket.receive_text()


@get("/boom")
async def boom() -> None:
    raise RuntimeError("the password is hunter2")


@get("/internal")
async def internal() -> None:
    raise InternalServerException("the password is hunter2", extra={"password": "hunter2"})


@get("/unavailable")
async def unavailable() -> None:
    try:
        raise ConnectionRefusedError("10.0.0.7 refused")
    except OSError as error:
        raise ServiceUnavailableException("Try again later.", headers={"Retry-After": "7"}) from error


class OutOfCredit(ClientException):
    status_code = 402


@get("/credit")
async def credit() -> None:
    raise OutOfCredit("Not enough.", extra={"balance": 3, "status": 999, "odd": object()})


@post("/validation", status_code=200)
async def validation() -> None:
    errors = [{"key": "email", "message": "is not an address", "source": "body"}]
    raise ValidationException("`email` is not an address", extra=errors)


@get("/limited", opt=limit_by_address("by_address"))
async def limited() -> int:
    return os.getpid()


@post("/limited-body", opt=limit_by_address("by_address"))
async def limited_body(data: JSONBody[Item]) -> str:
    return "ok"


@get("/user-limited", guards=[authenticate], opt=limit_by_user("by_user"))
async def user_limited() -> int:
    return os.getpid()


@get("/both-limited", guards=[authenticate], opt=limit_by_address("by_address") | limit_by_user("by_user"))
async def both_limited() -> int:
    return os.getpid()


@get("/unauthenticated", opt=limit_by_user("by_user"))
async def unauthenticated() -> None:
    return None


@get("/client")
async def client_info(request: Request[Any, Any, Any]) -> dict[str, str | None]:
    address = request.scope["client"]
    return {"client": address[0] if address else None, "scheme": request.scope["scheme"]}


@post("/token-echo", security=[{"bearer": []}])
async def token_echo(request: Request[Any, Any, Any], data: JSONBody[Item]) -> dict[str, str | None]:
    """Return the received token."""
    return {"authorization": request.headers.get("authorization")}


@get("/own-headers")
async def own_headers() -> Response[str]:
    return Response(
        "", headers={"Cache-Control": "max-age=5", "X-Frame-Options": "SAMEORIGIN", "Vary": "Accept"}
    )


@head("/headed")
async def headed() -> None:
    raise ClientException("no")


@get("/nothing", status_code=204)
async def nothing() -> None:
    return None


HANDLERS = [
    *SLOW_HANDLERS,
    *LIVE_HANDLERS,
    *LOAD_HANDLERS,
    boom,
    both_limited,
    broken_stream,
    client_info,
    create_item,
    credit,
    document,
    headed,
    internal,
    limited,
    limited_body,
    nothing,
    own_headers,
    points,
    query,
    raw,
    replace_document,
    socket_broken,
    streamed_document,
    follow,
    follow_socket,
    token_echo,
    unauthenticated,
    unavailable,
    upload,
    user_limited,
    validation,
]


def create_app(settings: Any) -> Litestar:
    document = openapi("starkeel-http", "Sample of the HTTP edge.")
    document.components = Components(security_schemes={"bearer": SecurityScheme("http", scheme="bearer")})
    return Litestar(
        [*HANDLERS, *LARGE_ROUTES],
        openapi_config=document,
        plugins=[
            Logging(),
            ServerPlugin(settings.server),
            HttpPlugin(settings.http, limits={"by_address": settings.rate, "by_user": settings.rate}),
        ],
    )
