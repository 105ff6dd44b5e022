"""The check for breaking changes of the OpenAPI documents, in both directions of each change."""

import json
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from tools.checks.api_compatibility import allows_breaking, breaking_changes
from tools.registry import ROOT

DOCUMENT: dict[str, Any] = {
    "info": {"title": "shop", "version": "1.2.0"},
    "paths": {
        "/things": {
            "get": {
                "operationId": "List",
                "parameters": [
                    {
                        "name": "limit",
                        "in": "query",
                        "required": False,
                        "schema": {"type": "integer", "maximum": 9},
                    }
                ],
                "responses": {
                    "200": {"content": {"a/json": {"schema": {"$ref": "#/components/schemas/View"}}}}
                },
            },
            "post": {
                "operationId": "Create",
                "security": [{"bearer": ["read"]}],
                "requestBody": {
                    "required": False,
                    "content": {"a/json": {"schema": {"$ref": "#/components/schemas/New"}}},
                },
                "responses": {
                    "201": {
                        "headers": {"ETag": {}},
                        "content": {"a/json": {"schema": {"$ref": "#/components/schemas/View"}}},
                    },
                    "202": {"description": "later"},
                    "404": {"description": "missing"},
                },
            },
        },
        "/other": {"get": {"operationId": "Other", "responses": {"204": {"description": "none"}}}},
    },
    "components": {
        "schemas": {
            "New": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "maxLength": 10},
                    "size": {"type": "number", "minimum": 1},
                    "kind": {"type": "string", "enum": ["a", "b"]},
                    "note": {"oneOf": [{"type": "string"}, {"type": "null"}]},
                    "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
                },
            },
            "View": {
                "type": "object",
                "required": ["id", "kind"],
                "properties": {
                    "id": {"type": "string"},
                    "kind": {"type": "string", "enum": ["a", "b"]},
                    "count": {"type": "integer", "minimum": 0},
                    "inner": {"$ref": "#/components/schemas/View"},
                },
            },
        }
    },
}
GONE = object()
NEW = ("components", "schemas", "New")
VIEW = ("components", "schemas", "View")
POST = ("paths", "/things", "post")
LIMIT = ("paths", "/things", "get", "parameters", 0)

# Place, its new value, and what the change and its reverse are reported as; empty for no breaking change.
CHANGES: list[tuple[tuple[Any, ...], Any, str, str]] = [
    (("paths", "/other"), GONE, "get /other: is removed", ""),
    (POST, GONE, "post /things: is removed", ""),
    ((*POST, "operationId"), "Make", "operationId is Make", "operationId is Create"),
    ((*POST, "responses", "202"), GONE, "response 202 is removed", ""),
    ((*POST, "responses", "404"), GONE, "", ""),
    ((*POST, "responses", "201", "headers", "ETag"), GONE, "header ETag is removed", ""),
    ((*POST, "responses", "201", "content", "a/json"), GONE, "a/json is removed", ""),
    ((*POST, "security"), [{"bearer": ["read", "write"]}], "requires", ""),
    ((*POST, "security"), GONE, "", "requires"),
    ((*POST, "security"), [{"bearer": ["read"]}, {}], "", "requires"),
    ((*POST, "requestBody"), GONE, "body: is removed", ""),
    ((*POST, "requestBody", "required"), True, "body: is now required", ""),
    ((*POST, "requestBody", "content", "a/json"), GONE, "no longer accepted", ""),
    (LIMIT, GONE, "query parameter limit: is removed", ""),
    ((*LIMIT, "required"), True, "now required", ""),
    ((*LIMIT, "schema", "maximum"), 8, "maximum 9 is above 8", ""),
    ((*LIMIT, "schema", "type"), "string", "integer is not accepted", "string is not accepted"),
    ((*LIMIT, "schema", "type"), "number", "", "number is not accepted"),
    ((*NEW, "required"), ["name", "size"], ".size: is now required", ""),
    ((*NEW, "properties", "size"), GONE, ".size: is removed", ""),
    ((*NEW, "additionalProperties"), True, "", "unknown fields are now rejected"),
    ((*NEW, "properties", "size", "type"), "integer", "number is not accepted", ""),
    ((*NEW, "properties", "size", "minimum"), 2, "minimum 1 is below 2", ""),
    ((*NEW, "properties", "size", "minimum"), GONE, "", "without bound is below 1"),
    ((*NEW, "properties", "name", "maxLength"), 9, "maxLength 10 is above 9", ""),
    ((*NEW, "properties", "name", "pattern"), "^x", "pattern without restriction", ""),
    ((*NEW, "properties", "kind", "enum"), ["a"], "the value 'b' is not accepted", ""),
    ((*NEW, "properties", "kind", "enum"), GONE, "", "any value, of which only"),
    (
        (*NEW, "properties", "kind"),
        {"const": "a"},
        "the value 'b' is not accepted",
        "any type is not accepted",
    ),
    ((*NEW, "properties", "note"), {"type": "string"}, "null is not accepted", ""),
    (
        (*NEW, "properties", "tags", "items", "type"),
        "integer",
        "string is not accepted",
        "integer is not accepted",
    ),
    ((*NEW, "properties", "tags", "maxItems"), 6, "", "maxItems 6 is above 5"),
    ((*NEW, "properties", "tags", "uniqueItems"), True, "repeated items", ""),
    # Responses: the other way round.
    ((*VIEW, "properties", "id"), GONE, ".id: is no longer always sent", ""),
    ((*VIEW, "properties", "count"), GONE, ".count: is removed", ""),
    ((*VIEW, "required"), ["id"], ".kind: is no longer always sent", ""),
    ((*VIEW, "properties", "kind", "type"), ["string", "null"], "null is not accepted", ""),
    ((*VIEW, "properties", "kind", "enum"), ["a", "b", "c"], "the value 'c' is not accepted", ""),
    ((*VIEW, "properties", "count", "minimum"), -1, "minimum -1 is below 0", ""),
]


def changed(place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    document = deepcopy(DOCUMENT)
    inner: Any = document
    for key in place[:-1]:
        inner = inner[key]
    if value is GONE:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    if place == (*VIEW, "properties", "id"):
        document["components"]["schemas"]["View"]["required"].remove("id")
    return document


@pytest.mark.parametrize(("place", "value", "forward", "back"), CHANGES)
def test_a_change_is_breaking_in_the_direction_in_which_clients_fail(
    place: tuple[Any, ...], value: Any, forward: str, back: str
) -> None:
    new = changed(place, value)
    for old_document, new_document, expected in ((DOCUMENT, new, forward), (new, DOCUMENT, back)):
        found = list(breaking_changes(old_document, new_document))
        assert bool(found) is bool(expected), found
        assert not expected or any(expected in each for each in found), found


def test_a_new_required_parameter_is_breaking() -> None:
    parameter = {"name": "X-Key", "in": "header", "required": True, "schema": {"type": "string"}}
    new = changed(("paths", "/other", "get", "parameters"), [parameter])

    assert list(breaking_changes(DOCUMENT, new)) == [
        "get /other: header parameter X-Key: is new and required"
    ]
    assert list(breaking_changes(DOCUMENT, changed(("info", "version"), "2.0.0"))) == []


@pytest.mark.parametrize(
    ("before", "after", "is_allowed"),
    [
        ("1.2.0", "2.0.0", True),
        ("1.2.0", "1.3.0", False),
        ("1.2.0", "1.2.1", False),
        ("0.1.0", "0.2.0", True),
        ("0.1.0", "0.1.1", False),
        ("0.9.0", "1.0.0", True),
        ("2.0.0", "1.0.0", False),
    ],
)
def test_a_version_allows_breaking_changes(before: str, after: str, is_allowed: bool) -> None:
    assert allows_breaking(before, after) is is_allowed


def check(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.checks.api_compatibility", "--root", str(root), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_compares_with_the_released_document(tmp_path: Path) -> None:
    documents = tmp_path / "docs" / "openapi"
    documents.mkdir(parents=True)

    def write(document: dict[str, Any]) -> None:
        (documents / "shop.json").write_text(json.dumps(document))

    write(DOCUMENT)
    assert "released/shop.json is missing: run `just release-openapi`" in check(tmp_path).stderr
    assert check(tmp_path, "--release").returncode == 0
    assert check(tmp_path).returncode == 0

    broken = changed(POST, GONE)
    write(broken)
    refused = check(tmp_path)
    assert refused.returncode == 1
    assert "shop.json: post /things: is removed\n" in refused.stderr
    assert "set the next major version of services/shop" in refused.stderr
    # A release is refused as well, and leaves the released document.
    assert check(tmp_path, "--release").returncode == 1
    assert json.loads((documents / "released" / "shop.json").read_text()) == DOCUMENT

    write(broken | {"info": {"title": "shop", "version": "2.0.0"}})
    assert check(tmp_path).returncode == 0
    assert check(tmp_path, "--release").returncode == 0
    write(DOCUMENT | {"info": {"title": "shop", "version": "2.0.0"}})
    assert check(tmp_path).returncode == 0
