"""Examples and links in the OpenAPI document."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest
from litestar import Litestar, Response, get, post
from litestar.openapi.spec import Link, Operation, RequestBody
from litestar.params import JSONBody
from msgspec import Meta
from starkeel_http import HttpPlugin, HttpSettings, response_links


class Part(msgspec.Struct):
    name: Annotated[str, Meta(examples=["hinge"])]


class Thing(msgspec.Struct, rename="camel"):
    part_list: list[Part]
    kind: Literal["tool"] = "tool"
    count: int = 3
    note: str | None = None


class Nullable(msgspec.Struct):
    name: Annotated[str | None, Meta(examples=[None])]


class Bare(msgspec.Struct):
    name: str


THING = {"partList": [{"name": "hinge"}], "kind": "tool", "count": 3}


def document(*handlers: Any) -> dict[str, Any]:
    app = Litestar([*handlers], plugins=[HttpPlugin(HttpSettings())])
    return app.openapi_schema.to_schema()


def response_of(operation: dict[str, Any], status: str) -> dict[str, Any]:
    [media_type] = operation["responses"][status]["content"].values()
    return media_type.get("examples", {})  # type: ignore[no-any-return]  # JSON


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Thing, {"example": {"value": THING}}),
        (Response[Thing], {"example": {"value": THING}}),
        (list[Thing], {"example": {"value": [THING]}}),
        # A required field without an example, or one that Litestar would leave out.
        (Bare, {}),
        (list[Bare], {}),
        (Nullable, {}),
        (dict[str, str], {}),
    ],
)
def test_a_response_has_the_examples_of_its_fields(annotation: Any, expected: dict[str, Any]) -> None:
    async def handler() -> Any:
        raise NotImplementedError

    handler.__annotations__["return"] = annotation

    found = document(get("/things")(handler))

    assert response_of(found["paths"]["/things"]["get"], "200") == expected


@dataclass
class OptionalBody(Operation):
    def __post_init__(self) -> None:
        assert isinstance(self.request_body, RequestBody)
        self.request_body.required = False


def test_a_request_has_an_example_and_keeps_the_operation_class() -> None:
    @post("/things", operation_class=OptionalBody)
    async def create(data: JSONBody[Thing]) -> None: ...

    body = document(create)["paths"]["/things"]["post"]["requestBody"]

    assert body["content"]["application/json"]["examples"] == {"example": {"value": THING}}
    assert body["required"] is False


def test_links_are_those_of_the_response_with_their_status() -> None:
    link = Link(operation_id="GetThing", parameters={"thing_id": "$response.body#/id"})

    @post("/things", opt=response_links({201: {"get": link}}))
    async def create(data: JSONBody[Thing]) -> Thing:
        return data

    responses = document(create)["paths"]["/things"]["post"]["responses"]

    expected = {"operationId": "GetThing", "parameters": {"thing_id": "$response.body#/id"}}
    assert responses["201"]["links"] == {"get": expected}
    assert [status for status in responses if "links" in responses[status]] == ["201"]
