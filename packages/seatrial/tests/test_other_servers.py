"""Servers of other languages: what their parsers refuse, and what a defect of each turns red."""

import contextlib
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import report
from starkeel_testing import wait_until

_NODE = """
const http = require("node:http");
const options = { insecureHTTPParser: INSECURE, requireHostHeader: !INSECURE, maxHeaderSize: LIMIT };
http.createServer(options, (request, response) => {
  const path = request.url.split("?")[0];
  const headers = { "Content-Type": "application/json", "Cache-Control": "no-store" };
  request.resume();
  if (INSECURE && request.url.includes("%")) {
    response.writeHead(500, headers).end(JSON.stringify({ error: new Error("x").stack }));
  } else {
    response.writeHead(path.startsWith("/health/") ? 200 : 404, headers).end("{}");
  }
}).listen(PORT, "127.0.0.1");
"""
_NGINX = """
daemon off;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log;
events {}
http {
  access_log off;
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
  default_type application/json;
  EXTRA
  server {
    listen 127.0.0.1:PORT;
    location /health/ { return 200 "{}"; }
    location / { return 404 "{}"; }
  }
}
"""
_PARSER_ROWS = (
    "edge-smuggling-both-lengths", "edge-smuggling-content-length", "edge-smuggling-transfer-encoding",
    "edge-smuggling-chunks", "edge-header-syntax", "edge-host", "edge-header-size", "edge-header-count",
    "edge-target-length",
)  # fmt: skip


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def _started(command: list[str], port: int) -> Iterator[str]:
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:

        def is_listening() -> bool:
            assert process.poll() is None, f"{command} exited"
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return True
            return False

        try:
            wait_until(is_listening, timeout_s=20)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@contextlib.contextmanager
def node(folder: Path, *, is_insecure: bool = False) -> Iterator[str]:
    port = _free_port()
    replaced = {
        "INSECURE": "true" if is_insecure else "false",
        "LIMIT": "8388608" if is_insecure else "16384",
    }
    text = _NODE.replace("PORT", str(port))
    for name, value in replaced.items():
        text = text.replace(name, value)
    (folder / "server.cjs").write_text(text)
    with _started(["node", str(folder / "server.cjs")], port) as url:
        yield url


@contextlib.contextmanager
def nginx(folder: Path, extra: str) -> Iterator[str]:
    port = _free_port()
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") or "nginx"
    text = _NGINX.replace("FOLDER", str(folder)).replace("PORT", str(port)).replace("EXTRA", extra)
    (folder / "nginx.conf").write_text(text)
    with _started([program, "-p", str(folder), "-c", str(folder / "nginx.conf")], port) as url:
        yield url


def _verdicts(url: str, folder: Path, *rows: str) -> dict[str, str]:
    only = [part for row in rows for part in ("--only", row)]
    found: dict[str, Any] = report("check", url, *only, cwd=folder)
    return {row["id"]: row["verdict"] for row in found["rows"]}


def test_parser_of_node_passes(tmp_path: Path) -> None:
    # Node.js uses the first of two Hosts, which RFC 9112, section 3.2, forbids: `edge-host` fails.
    rows = set(_PARSER_ROWS) - {"edge-host"}
    with node(tmp_path) as url:
        assert _verdicts(url, tmp_path, *rows) == dict.fromkeys(rows, "pass")


def test_insecure_parser_of_node_fails(tmp_path: Path) -> None:
    rows = ("edge-smuggling-both-lengths", "edge-host", "edge-header-size", "edge-target-length")
    rows += ("errors-no-internals", "errors-no-server-error")
    with node(tmp_path, is_insecure=True) as url:
        assert _verdicts(url, tmp_path, *rows) == dict.fromkeys(rows, "fail")


_GOOD = """
server_tokens off;
add_header X-Content-Type-Options nosniff always;
add_header Content-Security-Policy "frame-ancestors 'none'" always;
add_header Cache-Control no-store always;
"""


def test_configured_nginx_passes(tmp_path: Path) -> None:
    rows = (*_PARSER_ROWS, "edge-no-sniffing", "edge-no-framing", "edge-no-server-version", "edge-head")
    rows += ("health-liveness", "health-readiness", "health-uncached", "errors-not-found", "edge-trace")
    with nginx(tmp_path, _GOOD) as url:
        assert _verdicts(url, tmp_path, *rows) == dict.fromkeys(rows, "pass")


@pytest.mark.parametrize(
    ("row", "removed"),
    [
        ("edge-no-server-version", "server_tokens off;"),
        ("edge-no-sniffing", " always;\nadd_header Content"),
        ("health-uncached", "add_header Cache-Control no-store always;"),
        ("edge-header-size", "server_tokens off;"),
    ],
)
def test_row_fails_for_a_directive_that_is_missing(row: str, removed: str, tmp_path: Path) -> None:
    replacements = {
        "edge-no-sniffing": ";\nadd_header Content",
        "edge-header-size": "large_client_header_buffers 8 4m;",
    }
    extra = _GOOD.replace(removed, replacements.get(row, ""), 1)
    with nginx(tmp_path, extra) as url:
        assert _verdicts(url, tmp_path, row) == {row: "fail"}
