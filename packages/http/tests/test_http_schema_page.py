"""The page that shows an OpenAPI document."""

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec
import pytest
from litestar import Litestar, post
from litestar.openapi import OpenAPIConfig
from litestar.params import JSONBody
from litestar.testing import TestClient
from starkeel_http import SchemaPage, openapi, problem_responses


class Thing(msgspec.Struct):
    name: Annotated[str, msgspec.Meta(examples=["hammer"])]


@post("/things", responses=problem_responses(409, 404))
async def make(data: JSONBody[Thing]) -> Thing:
    """Make a thing."""
    return data


@pytest.fixture
def client() -> Iterator[TestClient[Litestar]]:
    config = OpenAPIConfig(title="<things>", version="1", path="/schema", render_plugins=[SchemaPage()])
    with TestClient(Litestar([make], openapi_config=config)) as client:
        yield client


def test_everything_the_page_loads_comes_from_the_service(client: TestClient[Litestar]) -> None:
    page = client.get("/schema")

    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    links = re.findall(r'(?:src|href|data-document)="([^"]*)"', page.text)
    assert {"/schema/page.js", "/schema/page.css", "/schema/openapi.json"} <= set(links)
    for link in links:
        if link != "data:,":
            assert client.get(link).status_code == 200, link
    scripts = client.get("/schema/page.js").text + client.get("/schema/page.css").text
    assert "//" not in re.sub(r"//[^\n]*\n", "\n", scripts).replace("://", "")
    assert "innerHTML" not in scripts


def test_the_page_allows_its_own_script_and_no_inline_one(client: TestClient[Litestar]) -> None:
    page = client.get("/schema")

    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=|\bstyle=", page.text)


def test_a_title_cannot_become_markup(client: TestClient[Litestar]) -> None:
    assert "<title>&lt;things&gt;</title>" in client.get("/schema").text


def test_assets_name_their_media_type(client: TestClient[Litestar]) -> None:
    assert client.get("/schema/page.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/schema/page.css").headers["content-type"].startswith("text/css")


def test_problems_are_documented_with_an_example(client: TestClient[Litestar]) -> None:
    document = client.get("/schema/openapi.json").json()

    responses = document["paths"]["/things"]["post"]["responses"]
    content = responses["409"]["content"]["application/problem+json"]
    assert content["schema"] == {"$ref": "#/components/schemas/ProblemDetails"}
    [example] = content["examples"].values()
    assert example["value"] == {"type": "about:blank", "title": "Conflict", "status": 409}
    assert "404" in responses


def test_a_service_is_described_with_the_version_of_its_distribution() -> None:
    config = openapi("starkeel-http", "The edge.")

    assert (config.title, config.path, config.description) == ("starkeel-http", "/schema", "The edge.")
    assert config.version[0].isdigit()
