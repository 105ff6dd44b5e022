"""OpenAPI document and the files of its page; a browser opens the page in `test_http_schema_page_browser`."""

import gzip
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Annotated

import msgspec
import pytest
from litestar import Litestar, post
from litestar.openapi import OpenAPIConfig
from litestar.params import JSONBody
from litestar.testing import TestClient
from starkeel_http import HttpPlugin, HttpSettings, SchemaPage, openapi, problem_responses

STRICT = "default-src 'none'; frame-ancestors 'none'"
MAX_GZIPPED_BYTES = 1_000_000


class Thing(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(examples=["hammer"])]


@post("/things", responses=problem_responses(409, 404))
async def create_thing(data: JSONBody[Thing]) -> Thing:
    """Create a thing."""
    return data


@pytest.fixture
def client() -> Iterator[TestClient[Litestar]]:
    config = OpenAPIConfig(title="<things>", version="1", path="/schema", render_plugins=[SchemaPage()])
    app = Litestar([create_thing], openapi_config=config, plugins=[HttpPlugin(HttpSettings())])
    with TestClient(app) as client:
        yield client


def test_everything_the_page_loads_comes_from_the_service(client: TestClient[Litestar]) -> None:
    page = client.get("/schema")

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    links = set(re.findall(r'(?:src|href|data-document)="([^"]*)"', page.text)) - {"data:,"}
    assert links == {
        "/schema/openapi.json",
        "/schema/static/schema_page.js",
        "/schema/static/swagger-ui-bundle.js",
        "/schema/static/swagger-ui.css",
    }
    for link in links:
        assert client.get(link).status_code == 200, link


def test_only_the_page_relaxes_the_content_security_policy(client: TestClient[Litestar]) -> None:
    page = client.get("/schema")

    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=|\bstyle=", page.text)
    for path in ("/schema/openapi.json", "/schema/static/swagger-ui.css", "/schema/missing", "/things"):
        assert client.get(path).headers["content-security-policy"] == STRICT, path


def test_a_title_cannot_become_markup(client: TestClient[Litestar]) -> None:
    assert "<title>&lt;things&gt;</title>" in client.get("/schema").text


def test_swagger_ui_is_small_and_licensed() -> None:
    vendored = {
        file.name: file.read_bytes() for file in (files("starkeel_http") / "_openapi/static").iterdir()
    }

    assert sum(len(gzip.compress(content)) for content in vendored.values()) <= MAX_GZIPPED_BYTES
    assert {"LICENSE", "NOTICE", "swagger-ui-bundle.js.LICENSE.txt"} <= set(vendored)


def test_problems_are_documented_with_an_example(client: TestClient[Litestar]) -> None:
    document = client.get("/schema/openapi.json").json()

    responses = document["paths"]["/things"]["post"]["responses"]
    content = responses["409"]["content"]["application/problem+json"]
    assert content["schema"] == {"$ref": "#/components/schemas/ProblemDetails"}
    [example] = content["examples"].values()
    assert example["value"] == {"type": "about:blank", "title": "Conflict", "status": 409}
    assert "404" in responses


def test_a_document_has_the_version_of_the_distribution() -> None:
    config = openapi("starkeel-http", "The edge.")

    assert (config.title, config.path, config.description) == ("starkeel-http", "/schema", "The edge.")
    assert config.version[0].isdigit()
