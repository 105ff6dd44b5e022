"""Litestar's own OpenAPI pages work in an application that adds the edge and configures no pages."""

import textwrap
from collections.abc import Iterator

import httpx2
import pytest
from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import (
    RapidocRenderPlugin,
    RedocRenderPlugin,
    ScalarRenderPlugin,
    StoplightRenderPlugin,
    SwaggerRenderPlugin,
)
from litestar.openapi.spec import Server
from litestar.testing import TestClient
from starkeel_http import HttpPlugin, HttpSettings, openapi

from tests.support.asgi_servers import Served, served

APP = """
from litestar import Litestar, get
from starkeel_http import HttpPlugin, HttpSettings, openapi

@get("/size")
async def size() -> int:
    return 1

def create(**options: object) -> Litestar:
    return Litestar([size], plugins=[HttpPlugin(HttpSettings())], **options)

app = create()
described = create(openapi_config=openapi("", "No distribution."))
"""


@pytest.fixture(scope="module", params=["app", "described"])
def ordinary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("ordinary")
    (directory / "plain.py").write_text(textwrap.dedent(APP))
    with served("uvicorn", f"plain:{request.param}", directory) as running:
        yield running


def test_the_default_pages_may_load_what_they_contain(ordinary: Served) -> None:
    page = httpx2.get(f"{ordinary.url}/schema", follow_redirects=True)
    document = httpx2.get(f"{ordinary.url}/schema/openapi.json")

    policy = page.headers["content-security-policy"]
    assert page.status_code == document.status_code == 200
    assert "script-src 'none'" not in policy
    assert "'unsafe-inline'" not in _directive(policy, "script-src")
    assert document.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert document.json()["info"]["version"] in {"0", "1.0.0"}


@pytest.mark.parametrize(
    ("plugin", "script"),
    [
        (ScalarRenderPlugin(version="1.2"), "https://cdn.jsdelivr.net/npm/@scalar/api-reference@1.2"),
        (RedocRenderPlugin(version="next"), "https://cdn.redoc.ly/redoc/next/bundles/redoc.standalone.js"),
        (SwaggerRenderPlugin(js_url="/own.js"), "'self'"),
        (StoplightRenderPlugin(), "https://unpkg.com/@stoplight/elements@7.7.18/web-components.min.js"),
        (RapidocRenderPlugin(js_url="https://host/a;b.js?v=1"), "https://host/a%3Bb.js"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_a_policy_names_the_scripts_of_the_plugins_in_use(plugin: ScalarRenderPlugin, script: str) -> None:
    servers = [Server("https://api.example.com/v1"), Server("/")]
    config = OpenAPIConfig(title="Things", version="1", render_plugins=[plugin], servers=servers)
    app = Litestar([], openapi_config=config, plugins=[HttpPlugin(HttpSettings())])

    with TestClient(app) as client:
        policy = client.get("/schema").headers["content-security-policy"]
        missing = client.get("/schema/missing").headers["content-security-policy"]

    assert script in _directive(policy, "script-src").split()
    assert _directive(policy, "connect-src") == "'self' https://api.example.com"
    assert missing == "default-src 'none'; frame-ancestors 'none'"


def test_a_page_of_the_application_keeps_its_own_policy() -> None:
    app = Litestar([], openapi_config=openapi("things", "Things."), plugins=[HttpPlugin(HttpSettings())])

    with TestClient(app) as client:
        assert "https:" not in client.get("/schema").headers["content-security-policy"]


def _directive(policy: str, name: str) -> str:
    return next(each for each in policy.split("; ") if each.startswith(f"{name} ")).removeprefix(f"{name} ")
