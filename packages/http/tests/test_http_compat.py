"""Undocumented behaviour of Litestar and msgspec that the edge depends on."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
import pytest
from litestar import Litestar, post
from litestar.exceptions import ImproperlyConfiguredException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.params import HeaderParameter, JSONBody, QueryParameter
from litestar.testing import TestClient
from starkeel_http import HttpPlugin, HttpSettings, _compat

BODY = {"kind": "nail", "parts": [{"name": "head"}]}
LITESTAR_DEFAULT_MAX_BODY_BYTES = 10_000_000


@pytest.fixture(autouse=True)
def fresh_check() -> Iterator[None]:
    _compat.check.cache_clear()
    yield
    _compat.check.cache_clear()


@pytest.mark.parametrize(
    ("owner", "name", "replacement"),
    [
        (BaseRouteHandler, "parsed_data_field", None),
        (HTTPRouteHandler, "resolve_request_max_body_size", lambda _: LITESTAR_DEFAULT_MAX_BODY_BYTES),
        (_compat, "parameters", lambda _: {}),
        (_compat, "query_parameters", lambda _: {}),
    ],
)
def test_an_unsupported_release_of_litestar_is_reported(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, replacement: Any
) -> None:
    if isinstance(owner, str):
        monkeypatch.setattr(f"{owner}.{name}", replacement)
    else:
        monkeypatch.setattr(owner, name, replacement)

    with pytest.raises(
        ImproperlyConfiguredException, match=r"does not support Litestar 2\..*: `.*: .* would"
    ):
        Litestar([], plugins=[HttpPlugin(HttpSettings())])


class Part(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class Item(msgspec.Struct, forbid_unknown_fields=True):
    kind: Literal["plank", "nail"]
    parts: list[Part]


@post("/items")
async def create_item(
    data: JSONBody[Item],
    size: Annotated[int, QueryParameter(ge=1)],
    tag: Annotated[str, HeaderParameter(name="X-Tag", max_length=3)] = "",
) -> str:
    return "created"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Litestar]]:
    settings = HttpSettings(max_body_bytes=LITESTAR_DEFAULT_MAX_BODY_BYTES + 2_000_000)
    with TestClient(Litestar([create_item], plugins=[HttpPlugin(settings)])) as client:
        yield client


@pytest.mark.parametrize(
    ("query", "headers", "body", "errors"),
    [
        ("", {}, BODY, {"size": "is required"}),
        ("size=0", {}, BODY, {"size": "Expected `int` >= 1"}),
        ("size=0", {"X-Tag": "long"}, BODY, {"size": "Expected", "X-Tag": "Expected"}),
        ("size=1", {}, None, {"body": "is required"}),
        ("size=1", {}, BODY | {"kind": "hunter2"}, {"kind": "is not one of `plank`, `nail`"}),
        ("size=1", {}, BODY | {"parts": [{}]}, {"parts[0].name": "is required"}),
        ("size=1", {}, BODY | {"parts": [{"name": "head", "x": 1}]}, {"parts[0].x": "is unknown"}),
        ("size=1", {}, BODY | {"parts": [{"name": 1}]}, {"parts[0].name": "Expected `str`, got `int`"}),
    ],
)
def test_error_texts_are_recognized(
    client: TestClient[Litestar], query: str, headers: dict[str, str], body: Any, errors: dict[str, str]
) -> None:
    content = b"" if body is None else msgspec.json.encode(body)
    problem = client.post(f"/items?{query}", headers=headers, content=content).json()

    assert {error["field"]: error["message"] for error in problem["errors"]}.keys() == errors.keys()
    for error in problem["errors"]:
        assert error["message"].startswith(errors[error["field"]]), problem
    assert "hunter2" not in str(problem)
    assert "http://" not in problem["detail"]


def test_the_body_limit_may_exceed_that_of_litestar(client: TestClient[Litestar]) -> None:
    padding = b" " * (LITESTAR_DEFAULT_MAX_BODY_BYTES + 1_000_000)
    response = client.post("/items?size=1", content=msgspec.json.encode(BODY) + padding)

    assert response.status_code == 201
