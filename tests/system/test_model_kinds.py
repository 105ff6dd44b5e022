"""One application with every kind of model, with all plugins of an ordinary application, as a process."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.asgi_servers import Served, served

APP = """
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

import attrs
import msgspec
import pydantic
from litestar import Litestar, Router, get, post
from litestar.params import JSONBody
from litestar.plugins.attrs import AttrsSchemaPlugin
from starkeel_config import load
from starkeel_http import HttpPlugin, HttpSettings
from starkeel_observability import ObservabilityPlugin, ObservabilitySettings
from starkeel_server import ServerPlugin, ServerSettings
from typing_extensions import TypedDict


class Binding(StrEnum):
    CLOTH = "cloth"



class MsgspecAuthor(msgspec.Struct):
    name: str
    born: int


class MsgspecBook(msgspec.Struct):
    id: UUID
    title: str
    copies: int
    price: Decimal
    binding: Binding
    printed_at: datetime
    authors: list[MsgspecAuthor]
    note: str | None = None


class PydanticAuthor(pydantic.BaseModel):
    name: str
    born: int


class PydanticBook(pydantic.BaseModel):
    id: UUID
    title: str
    copies: int
    price: Decimal
    binding: Binding
    printed_at: datetime
    authors: list[PydanticAuthor]
    note: str | None = None


@dataclass
class DataclassAuthor:
    name: str
    born: int


@dataclass
class DataclassBook:
    id: UUID
    title: str
    copies: int
    price: Decimal
    binding: Binding
    printed_at: datetime
    authors: list[DataclassAuthor]
    note: str | None = None


@attrs.define
class AttrsAuthor:
    name: str
    born: int


@attrs.define
class AttrsBook:
    id: UUID
    title: str
    copies: int
    price: Decimal
    binding: Binding
    printed_at: datetime
    authors: list[AttrsAuthor]
    note: str | None = None


def routes(name, author, book):
    @post("/books")
    async def add(data: JSONBody[book]) -> book:
        assert type(data) is book and type(data.authors[0]) is author
        assert type(data.printed_at) is datetime and type(data.price) is Decimal
        return data

    @get("/books")
    async def listed() -> list[book]:
        return [
            book(
                id=UUID(int=7), title="Emma", copies=3, price=Decimal("9.50"), binding=Binding.CLOTH,
                printed_at=datetime(2026, 1, 2, tzinfo=UTC), authors=[author(name="Jane", born=1775)],
            )
        ]

    return Router(f"/{name}", route_handlers=[add, listed])


def settings(kind):
    return load(kind, os.environ, service="shop")


app = Litestar(
    [
        routes("msgspec", MsgspecAuthor, MsgspecBook),
        routes("pydantic", PydanticAuthor, PydanticBook),
        routes("dataclass", DataclassAuthor, DataclassBook),
        routes("attrs", AttrsAuthor, AttrsBook),
    ],
    plugins=[
        ObservabilityPlugin(settings(ObservabilitySettings)),
        HttpPlugin(settings(HttpSettings)),
        ServerPlugin(settings(ServerSettings)),
        AttrsSchemaPlugin(),
    ],
)
"""
KINDS = ["msgspec", "pydantic", "dataclass", "attrs"]
BOOK: dict[str, Any] = {
    "id": "00000000-0000-0000-0000-000000000007",
    "title": "Emma",
    "copies": 3,
    "price": "9.50",
    "binding": "cloth",
    "printed_at": "2026-01-02T00:00:00Z",
    "authors": [{"name": "Jane", "born": 1775}],
    "note": None,
}
INVALID = [
    ({"copies": "many"}, "copies"),
    ({"id": "seven"}, "id"),
    ({"binding": "gold"}, "binding"),
    ({"printed_at": "yesterday"}, "printed_at"),
    ({"title": None}, "title"),
    ({"authors": [{"name": "Jane", "born": 1775}, {"name": "Anne", "born": "1820s"}]}, "authors[1].born"),
    ({"authors": [{"name": "Jane"}]}, "authors[0].born"),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("shop")
    (directory / "shop.py").write_text(APP, encoding="utf-8")
    with served("granian", "shop:app", directory) as running:
        yield running


@pytest.fixture(scope="module")
def document(shop: Served) -> dict[str, Any]:
    response = httpx2.get(f"{shop.url}/schema/openapi.json")
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_valid_body_is_accepted_and_sent_back_unchanged(shop: Served, kind: str) -> None:
    response = httpx2.post(f"{shop.url}/{kind}/books", json=BOOK)

    assert (response.status_code, response.json()) == (201, BOOK)


@pytest.mark.parametrize("kind", KINDS)
def test_models_are_sent_as_the_same_json(shop: Served, kind: str) -> None:
    response = httpx2.get(f"{shop.url}/{kind}/books")

    assert response.headers["Content-Type"] == "application/json"
    assert (response.status_code, response.json()) == (200, [BOOK])


@pytest.mark.parametrize(("change", "field"), INVALID, ids=[field for _, field in INVALID])
@pytest.mark.parametrize("kind", KINDS)
def test_an_invalid_body_is_a_problem_that_names_the_field(
    shop: Served, kind: str, change: dict[str, Any], field: str
) -> None:
    response = httpx2.post(f"{shop.url}/{kind}/books", json=BOOK | change)

    assert response.status_code == 400, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in response.json()["errors"]] == [field]
    assert response.json()["errors"][0]["location"] == "body"


@pytest.mark.parametrize("kind", KINDS)
def test_missing_fields_are_all_named(shop: Served, kind: str) -> None:
    body = {name: value for name, value in BOOK.items() if name not in {"title", "copies"}}
    response = httpx2.post(f"{shop.url}/{kind}/books", json=body)

    assert response.status_code == 400
    assert sorted(error["field"] for error in response.json()["errors"]) == ["copies", "title"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_openapi_document_describes_the_model(document: dict[str, Any], kind: str) -> None:
    operation = document["paths"][f"/{kind}/books"]["post"]
    sent = _resolved(document, operation["requestBody"]["content"]["application/json"]["schema"])
    received = _resolved(document, operation["responses"]["201"]["content"]["application/json"]["schema"])
    for schema in (sent, received):
        assert list(schema["properties"]) == list(BOOK)
        assert sorted(schema["required"]) == sorted(BOOK.keys() - {"note"})
    author = _resolved(document, sent["properties"]["authors"]["items"])
    assert author["properties"]["born"]["type"] == "integer"
    assert "400" in operation["responses"]


def test_the_log_has_no_failure(shop: Served, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in shop.output.splitlines() if line.startswith("{")]
    assert any(line["message"] == "request completed" for line in lines)
    assert not [line for line in lines if line["level"] == "ERROR"]


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema, or the schema of its reference."""
    reference = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = document["components"]["schemas"][reference] if reference else schema
    return found
