"""Swagger UI in a real browser: Chromium, driven over the DevTools protocol."""

import itertools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starkeel_testing import Service, wait_until
from websockets.sync.client import ClientConnection, connect

from tests.support.asgi_servers import served

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1200,1600",
    "--remote-debugging-port=0",
]
OPERATION = "#operations-default-TokenEchoTokenEcho"
WAIT_S = 30.0


class Page:
    """One tab, with the requests, errors and policy violations it caused."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._session: str | None = None
        self.requested: list[str] = []
        self.errors: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._call(f"{domain}.enable")

    def open(self, url: str) -> None:
        self._call("Page.navigate", url=url)

    def close(self) -> None:
        self._call("Browser.close")

    def evaluate(self, expression: str) -> Any:
        result = self._call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        what = lambda: f"{expression}; errors: {self.errors}"  # noqa: E731
        return wait_until(lambda: self.evaluate(expression), timeout_s=WAIT_S, what=what)

    def click(self, selector: str) -> None:
        self.wait_for(f"!!document.querySelector({selector!r})")
        self.evaluate(f"document.querySelector({selector!r}).click()")

    def type(self, selector: str, text: str) -> None:
        self.wait_for(f"!!document.querySelector({selector!r})")
        self.evaluate(f"document.querySelector({selector!r}).focus()")
        self._call("Input.insertText", text=text)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session is not None and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            received = json.loads(self._socket.recv(timeout=WAIT_S))
            if received.get("id") == number:
                assert "error" not in received, received
                result: dict[str, Any] = received["result"]
                return result
            self._record(received)

    def _record(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requested.append(params["request"]["url"])
            case "Log.entryAdded":
                self.errors.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.errors.append(params["exceptionDetails"]["text"])


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        report: Callable[[str], Any] = pytest.fail if os.environ.get("CI") else pytest.skip
        report("Chromium is not installed: apt-get install chromium")
    command = [str(chromium), *FLAGS, f"--user-data-dir={tmp_path}", "about:blank"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            active_port = tmp_path / "DevToolsActivePort"
            wait_until(
                lambda: active_port.is_file() and "/" in active_port.read_text(),
                timeout_s=WAIT_S,
                what="Chromium",
            )
            port, path = active_port.read_text().split()
            with connect(f"ws://127.0.0.1:{port}{path}", max_size=None) as socket:
                page = Page(socket)
                yield page
                page.close()
            process.wait(WAIT_S)
        finally:
            process.kill()


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
