"""Responses of JSON in fewer steps are those of Litestar."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest
from litestar import Litestar, MediaType, Response, get, head, post
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import Cookie, ResponseHeader
from litestar.dto import DTOConfig, MsgspecDTO
from litestar.testing import TestClient
from starkeel_asgi import pipeline_of
from starkeel_asgi._json_response import JsonResponse

BACKGROUND: list[str] = []


class Color(StrEnum):
    RED = "red"


class Point(msgspec.Struct):
    x: int
    at: datetime
    secret: str = "hidden"


class Model(pydantic.BaseModel):
    name: str
    price: Decimal


@attrs.define
class Thing:
    name: str


class Special:
    """A type that only an encoder of its route can encode."""


class PointDTO(MsgspecDTO[Point]):
    config = DTOConfig(exclude={"secret"})


POINT = Point(1, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


async def _added(response: Response[Any]) -> Response[Any]:
    response.set_header("x-added", "yes")
    response.set_cookie("a", "b")
    return response


async def _replaced(response: Response[Any]) -> Response[Any]:
    response.content, response.status_code = {"replaced": True}, 202
    return response


def _route(value: Any, returns: Any = Any, *, method: Callable[..., Any] = get, **options: Any) -> Any:
    async def handler() -> Any:
        return value

    handler.__annotations__["return"] = returns
    return method("/", **options)(handler)


ROUTES: dict[str, Callable[[], Any]] = {
    "object": lambda: _route({"a": 1, "b": [None, True, 1.5]}, dict[str, Any]),
    "list": lambda: _route([1, 2], list[int]),
    "null": lambda: _route(None),
    "empty text": lambda: _route("", str),
    "text": lambda: _route("héllo", str),
    "text as JSON": lambda: _route("héllo", str, media_type=MediaType.JSON),
    "enum as JSON": lambda: _route(Color.RED, Color, media_type=MediaType.JSON),
    "bytes": lambda: _route(b"\x00\xff", bytes),
    "bytes as JSON": lambda: _route(b'{"raw":1}', bytes, media_type="application/json"),
    "problem": lambda: _route({"a": 1}, dict[str, int], media_type="application/problem+json"),
    "MessagePack": lambda: _route({"a": 1}, dict[str, int], media_type=MediaType.MESSAGEPACK),
    "struct": lambda: _route(POINT, Point),
    "DTO": lambda: _route(POINT, Point, return_dto=PointDTO),
    "Pydantic": lambda: _route(Model(name="a", price=Decimal("1.50")), Model),
    "attrs": lambda: _route(Thing("a"), Thing),
    "uuid": lambda: _route({"id": UUID(int=7)}, dict[str, UUID]),
    "created": lambda: _route({"a": 1}, dict[str, int], method=post),
    "no content": lambda: _route(None, None, status_code=204),
    "headers": lambda: _route({}, dict[str, int], response_headers=[ResponseHeader(name="X-A", value="b")]),
    "cookies": lambda: _route({}, dict[str, int], response_cookies=[Cookie(key="a", value="b")]),
    "background": lambda: _route({}, dict[str, int], background=BackgroundTask(BACKGROUND.append, "done")),
    "added by a hook": lambda: _route({}, dict[str, int], after_request=_added),
    "replaced by a hook": lambda: _route({}, dict[str, int], after_request=_replaced),
    "encoder": lambda: _route({"a": Special()}, dict[str, Any], type_encoders={Special: lambda _: "special"}),
    "not encodable": lambda: _route({"a": Special()}, dict[str, Any]),
    "cached": lambda: _route({"a": 1}, dict[str, int], cache=True),
    "own response": lambda: _route(Response({"a": 1}, headers={"x-a": "b"}), Response[dict[str, int]]),
    "HEAD": lambda: _route(None, None, method=head),
}


def _sent(handler: Any, *, is_direct: bool) -> list[tuple[Any, ...]]:
    BACKGROUND.clear()
    startup = [pipeline_of] if is_direct else []
    app = Litestar([handler], on_startup=startup, openapi_config=None, logging_config=None)
    method = min(handler.http_methods)
    with TestClient(app, raise_server_exceptions=False) as client:
        assert (app.response_class is JsonResponse) is is_direct
        # The second may come from a cache.
        responses = [client.request(method, "/") for _ in range(2)]
    return [
        (answer.status_code, answer.headers.multi_items(), answer.content, tuple(BACKGROUND))
        for answer in responses
    ]


@pytest.mark.parametrize("name", ROUTES)
def test_a_response_is_that_of_litestar(name: str) -> None:
    expected = _sent(ROUTES[name](), is_direct=False)
    sent = _sent(ROUTES[name](), is_direct=True)

    if name == "not encodable":
        # Starkeel's own problem, not Litestar's text.
        assert [answer[0] for answer in sent] == [answer[0] for answer in expected] == [500, 500]
    else:
        assert sent == expected


def test_encoders_of_two_routes_are_not_mixed_up() -> None:
    def encoding(path: str, text: str) -> Any:
        @get(path, type_encoders={Special: lambda _: text})
        async def handler() -> dict[str, Any]:
            return {"a": Special()}

        return handler

    app = Litestar(
        [encoding("/one", "1"), encoding("/two", "2")], on_startup=[pipeline_of], openapi_config=None
    )
    with TestClient(app) as client:
        found = [client.get(path).json()["a"] for path in ("/one", "/two", "/one")]

    assert found == ["1", "2", "1"]


def test_a_response_class_of_the_application_is_kept() -> None:
    class Own(Response[Any]):
        pass

    app = Litestar(
        [_route({}, dict[str, int])], response_class=Own, on_startup=[pipeline_of], openapi_config=None
    )
    with TestClient(app) as client:
        assert client.get("/").json() == {}
        assert app.response_class is Own
