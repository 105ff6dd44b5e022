"""Typed clients, generated from OpenAPI documents."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import msgspec
import pytest
from litestar import Litestar, get
from litestar.di import NamedDependency
from litestar.testing import TestClient
from starkeel_client import (
    ClientPlugin,
    UpstreamClient,
    UpstreamProblemError,
    UpstreamSettings,
    UpstreamUrl,
)

from tools.workspace import service_names

from ..support.scripted_upstream import ScriptedUpstream

ROOT = Path(__file__).parents[2]
ITEM = UUID("6f1f2f6e-0b44-4f1c-9a0f-2f6d2f0f7c11")
SCHEMAS: dict[str, Any] = {
    "Item": {
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "class": {"type": "string"},
            "state": {"enum": ["open", "closed"]},
            "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
            "note": {"type": ["null", "string"]},
        },
        "required": ["id", "class", "state", "parts"],
    },
    "Part": {"properties": {"weight": {"type": "number"}}, "required": ["weight"]},
    "NewItem": {
        "properties": {"count": {"type": "integer"}, "note": {"type": "string"}},
        "required": ["count"],
    },
}
PROBLEM = {"application/problem+json": {"schema": {"type": "object"}}}
ITEM_BODY = {"application/json": {"schema": {"$ref": "#/components/schemas/Item"}}}
ID = {"name": "item-id", "in": "path", "required": True, "schema": {"type": "string"}}
DOCUMENT: dict[str, Any] = {
    "paths": {
        "/items": {
            "get": {
                "parameters": [
                    {"name": "active", "in": "query", "schema": {"type": "boolean"}},
                    {"name": "since", "in": "query", "schema": {"type": "string", "format": "date-time"}},
                    {"name": "X-Tenant", "in": "header", "required": True, "schema": {"type": "string"}},
                ],
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {
                                "schema": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}}
                            }
                        }
                    }
                },
            },
            "post": {
                "summary": "Create an item.",
                "security": [{"bearer": []}],
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewItem"}}}
                },
                "responses": {
                    "201": {"content": ITEM_BODY},
                    "202": {},
                    "409": {"content": PROBLEM},
                    "503": {"content": PROBLEM},
                },
            },
        },
        "/items/{item-id}": {
            "parameters": [ID],
            "delete": {"responses": {"204": {}, "404": {"content": PROBLEM}}},
        },
    },
    "components": {"schemas": SCHEMAS, "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
}
OPERATIONS = {"list_items": "GET /items", "create": "POST /items", "delete": "DELETE /items/{item-id}"}


def write(root: Path, document: dict[str, Any], operations: dict[str, str], fields: str = "") -> Path:
    """Write a workspace with a document and a declaration; return the path of the client."""
    documents, service = root / "docs" / "openapi", root / "services" / "shop"
    documents.mkdir(parents=True, exist_ok=True)
    (service / "src" / "shop").mkdir(parents=True, exist_ok=True)
    (documents / "stock.json").write_text(json.dumps(document))
    lines = [f"{name} = {json.dumps(operation)}" for name, operation in operations.items()]
    table = "[tool.starkeel.clients.stock.operations]\n" + "\n".join(lines)
    (service / "pyproject.toml").write_text(f"{table}\n{fields}")
    return service / "src" / "shop" / "stock_client.py"


def generate(root: Path, *arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tools.generate", "clients", "--root", str(root), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_clients_of_this_workspace_match_the_documents() -> None:
    assert generate(ROOT, "--check") == (0, "")


def test_a_changed_document_is_reported_as_drift(tmp_path: Path) -> None:
    path = write(tmp_path, DOCUMENT, OPERATIONS)
    assert generate(tmp_path)[0] == 0
    assert generate(tmp_path, "--check") == (0, "")
    changed = json.loads(json.dumps(DOCUMENT))
    changed["components"]["schemas"]["Part"]["properties"]["weight"]["type"] = "string"
    write(tmp_path, changed, OPERATIONS)

    assert generate(tmp_path, "--check") == (
        1,
        f"{path.relative_to(tmp_path)} is stale: run `just clients`\n",
    )


def test_a_client_that_is_no_longer_declared_is_removed(tmp_path: Path) -> None:
    path = write(tmp_path, DOCUMENT, OPERATIONS)
    assert generate(tmp_path)[0] == 0
    (tmp_path / "services" / "shop" / "pyproject.toml").write_text("")

    assert generate(tmp_path, "--check")[0] == 1
    assert generate(tmp_path) == (0, f"removed {path.relative_to(tmp_path)}\n")
    assert not path.exists()


@pytest.mark.parametrize(
    ("operations", "fields", "expected"),
    [
        ({"gone": "GET /gone"}, "", "GET /gone: the document has no such operation"),
        ({"gone": "PUT /items"}, "", "PUT /items: the document has no such operation"),
        ({"a-b": "GET /items"}, "", "GET /items: the name 'a-b'"),
        (
            {"create": "POST /items"},
            '[tool.starkeel.clients.stock.fields]\nItem = ["price"]',
            "POST /items: Item has no field price",
        ),
        (
            {"delete": "DELETE /items/{item-id}"},
            '[tool.starkeel.clients.stock.fields]\nItem = ["id"]',
            "the operations do not use Item",
        ),
    ],
)
def test_a_declaration_that_the_document_does_not_have_is_refused(
    tmp_path: Path, operations: dict[str, str], fields: str, expected: str
) -> None:
    write(tmp_path, DOCUMENT, operations, fields)

    assert generate(tmp_path, "--check") == (1, f"shop: client of stock: {expected}\n")


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    root = tmp_path_factory.mktemp("workspace")
    path = write(root, DOCUMENT, OPERATIONS)
    code, output = generate(root)
    assert code == 0, output
    spec = importlib.util.spec_from_file_location("stock_client", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Annotations are resolved by the name of the module.
    sys.modules["stock_client"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["stock_client"]


@pytest.fixture
def stock() -> Iterator[ScriptedUpstream]:
    stock = ScriptedUpstream()
    yield stock
    stock.stop()


@pytest.fixture
def call(module: ModuleType, stock: ScriptedUpstream) -> Callable[..., Any]:
    """Return a function that runs a coroutine function with the generated client, within an application."""
    plugin = ClientPlugin(stock=UpstreamSettings(url=UpstreamUrl(stock.url)))

    def run(use: Callable[[Any], Awaitable[Any]]) -> Any:
        results: list[Any] = []

        @get("/")
        async def handler(stock_client: NamedDependency[UpstreamClient]) -> None:
            try:
                results.append(await use(module.StockClient(stock_client)))
            except UpstreamProblemError as error:
                results.append(error)

        with TestClient(Litestar([handler], plugins=[plugin])) as client:
            assert client.get("/").status_code == 200
        return results[0]

    return run


def test_parameters_are_sent_and_a_body_is_decoded(stock: ScriptedUpstream, call: Callable[..., Any]) -> None:
    item = {"id": str(ITEM), "class": "a", "state": "open", "parts": [{"weight": 1.5}], "more": 1}
    stock.responds(200, [item])

    (found,) = call(
        lambda client: client.list_items(
            active=True, since=datetime(2026, 1, 31, 12, tzinfo=UTC), x_tenant="north"
        )
    )

    method, path, headers, _ = stock.request
    assert (method, path) == ("GET", "/items?active=true&since=2026-01-31T12%3A00%3A00%2B00%3A00")
    assert headers["X-Tenant"] == "north"
    assert (found.id, found.class_, found.state, found.parts[0].weight) == (ITEM, "a", "open", 1.5)
    assert found.note is msgspec.UNSET


def test_parameters_that_are_not_given_are_omitted(stock: ScriptedUpstream, call: Callable[..., Any]) -> None:
    stock.responds(200, [])

    assert call(lambda client: client.list_items(x_tenant="north")) == []
    assert stock.request[1] == "/items"


def test_a_body_and_a_token_are_sent(
    module: ModuleType, stock: ScriptedUpstream, call: Callable[..., Any]
) -> None:
    stock.responds(201, {"id": str(ITEM), "class": "a", "state": "closed", "parts": [], "note": None})

    created = call(lambda client: client.create(token="t", body=module.NewItem(count=3)))

    _, _, headers, body = stock.request
    assert (headers["Authorization"], body) == ("Bearer t", b'{"count":3}')
    assert (created.state, created.note) == ("closed", None)


def test_an_empty_response_is_none(
    module: ModuleType, stock: ScriptedUpstream, call: Callable[..., Any]
) -> None:
    stock.responds(202)
    assert call(lambda client: client.create(token="t", body=module.NewItem(count=3))) is None
    stock.responds(204)
    assert call(lambda client: client.delete(item_id="a/b c")) is None
    assert stock.request[:2] == ("DELETE", "/items/a%2Fb%20c")


def test_a_documented_problem_is_an_error_with_its_status(
    stock: ScriptedUpstream, call: Callable[..., Any]
) -> None:
    stock.responds(404, {"status": 404, "title": "Not Found", "detail": "gone"}, "application/problem+json")

    error = call(lambda client: client.delete(item_id="7"))

    assert isinstance(error, UpstreamProblemError)
    assert (error.status, error.problem.detail, error.status_code) == (404, "gone", 502)
    assert "gone" not in error.detail


@pytest.mark.parametrize("service", service_names())
def test_whole_documents_of_this_workspace_have_clients(tmp_path: Path, service: str) -> None:
    document = json.loads((ROOT / "docs" / "openapi" / f"{service}.json").read_text("utf-8"))
    operations = {
        f"{method}_{number}": f"{method.upper()} {path}"
        for number, (path, item) in enumerate(document["paths"].items())
        for method, operation in item.items()
        # Forms and event streams, for which a client has no method.
        if method != "parameters" and {*_content_types(operation)} <= {"application/json"}
    }
    path = write(tmp_path, document, operations)

    code, output = generate(tmp_path)

    assert code == 0, output
    assert operations
    assert path.read_text("utf-8").count("async def ") == len(operations)


def _content_types(operation: dict[str, Any]) -> Iterator[str]:
    yield from operation.get("requestBody", {}).get("content", {})
    for status, response in operation["responses"].items():
        if status.startswith("2"):
            yield from response.get("content", {})
