"""Swagger UI in a real browser."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starkeel_testing import Service

from tests.support.asgi_servers import served
from tests.support.browser import Page, browser_page

OPERATION = "#operations-default-TokenEchoTokenEcho"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with browser_page(tmp_path) as page:
        yield page


def test_try_it_out_sends_the_bearer_token_to_the_service_only(sample: Service, page: Page) -> None:
    page.open(f"{sample.url}/schema")
    page.wait_for(f"!!document.querySelector('{OPERATION}')")
    page.click(".swagger-ui .btn.authorize")
    page.type(".auth-container input", "secret-token")
    page.click(".auth-btn-wrapper .btn.authorize")
    page.click(".auth-btn-wrapper .btn-done")
    page.click(f"{OPERATION} .opblock-summary-control")
    page.click(f"{OPERATION} .try-out__btn")
    page.click(f"{OPERATION} .execute")
    response = page.wait_for(f"document.querySelector('{OPERATION} .live-responses-table')?.innerText")

    assert "201" in response
    assert '"authorization": "Bearer secret-token"' in response
    assert f"{sample.url}/token-echo" in page.requested
    foreign = [
        url for url in page.requested if urlsplit(url).scheme != "data" and not url.startswith(sample.url)
    ]
    assert not foreign
    assert not page.errors


APP = """
from litestar import Litestar
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from starkeel_http import HttpPlugin, HttpSettings

pages = [
    SwaggerRenderPlugin(
        js_url="{cdn}/bundle.js", css_url="{cdn}/style.css", standalone_preset_js_url="{cdn}/preset.js"
    )
]
config = OpenAPIConfig(title="Things", version="1", render_plugins=pages)
app = Litestar([], openapi_config=config, plugins=[HttpPlugin(HttpSettings())])
"""
BUNDLE = """
window.SwaggerUIBundle = (options) => {
    document.title = `shows ${options.spec.info.title}`;
    return {initOAuth() {}};
};
window.SwaggerUIBundle.presets = {};
"""


class Cdn(BaseHTTPRequestHandler):
    """Replaces the network that Litestar's pages load their libraries from."""

    def do_GET(self) -> None:
        is_script = self.path.endswith(".js")
        self.send_response(200)
        self.send_header("Content-Type", "text/javascript" if is_script else "text/css")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(BUNDLE.encode() if self.path == "/bundle.js" else b"")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def cdn() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Cdn) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_page_of_litestar_runs_the_scripts_of_its_cdn(cdn: str, page: Page, tmp_path: Path) -> None:
    (tmp_path / "pages.py").write_text(APP.replace("{cdn}", cdn))
    with served("uvicorn", "pages:app", tmp_path) as running:
        page.open(f"{running.url}/schema")
        page.wait_for("document.title === 'shows Things'")

    assert f"{cdn}/style.css" in page.requested
    assert not [error for error in page.errors if "Content Security Policy" in error and cdn in error]
