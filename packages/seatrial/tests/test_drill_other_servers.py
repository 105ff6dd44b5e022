"""Drills of servers that are not Python: Node.js, careful and naive, and nginx."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from command import report

_CAREFUL_NODE = """
const http = require("http");
const log = (fields) => process.stdout.write(
  JSON.stringify({ time: new Date().toISOString(), level: "info", ...fields }) + "\\n");
const fail = (message) => { process.stderr.write(message + "\\n"); process.exit(1); };
if (!/^[0-9]+$/.test(process.env.PORT || "")) fail("PORT: " + process.env.PORT + " is no number");
let isStopping = false;
const limits = { headersTimeout: 1000, connectionsCheckingInterval: 200 };
const server = http.createServer(limits, (request, response) => {
  const path = new URL(request.url, "http://localhost").pathname;
  const known = { "/health/live": 200, "/health/ready": isStopping ? 503 : 200, "/slow": 200 };
  const status = known[path] || 404;
  const answer = () => {
    const headers = { "Content-Type": "application/json", "Cache-Control": "no-store" };
    if (isStopping) headers.Connection = "close";
    response.writeHead(status, headers).end("{}");
    log({ msg: "request", method: request.method, path, status, requestId: Math.random().toString(36),
      traceId: (request.headers.traceparent || "").split("-")[1] });
  };
  if (path === "/slow") setTimeout(answer, 800); else answer();
});
process.on("SIGTERM", () => {
  if (isStopping) return;
  isStopping = true;
  setTimeout(() => {
    server.close(() => process.exit(0));
    setTimeout(() => server.closeAllConnections(), 1500).unref();
  }, 300);
});
server.on("error", (error) => fail("cannot listen on port " + process.env.PORT + ": " + error.code));
server.listen(Number(process.env.PORT), "127.0.0.1");
"""
_NAIVE_NODE = """
const http = require("http");
http.createServer((request, response) => {
  console.log("%s %s", request.method, DECODE(request.url));
  if (request.url === "/slow") setTimeout(() => response.end("{}"), 800);
  else response.writeHead(request.url.startsWith("/health/") ? 200 : 404).end("{}");
}).listen(process.env.PORT === "not-a-port" ? 0 : process.env.PORT, "127.0.0.1");
"""
_CLUSTER = """
const cluster = require("cluster");
if (cluster.isPrimary) {
  cluster.fork();
  cluster.on("exit", () => { if (REPLACE) cluster.fork(); });
  process.on("SIGTERM", () => process.exit(0));
} else {
  require("http").createServer((request, response) =>
    response.writeHead(request.url.startsWith("/health/") ? 200 : 404).end("{}")
  ).listen(process.env.PORT, "127.0.0.1");
}
"""
_NGINX = """
daemon off;
user root;
worker_processes 1;
pid FOLDER/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_header_timeout HEADER_TIMEOUT;
  client_body_temp_path FOLDER/body;
  proxy_temp_path FOLDER/proxy;
  fastcgi_temp_path FOLDER/fastcgi;
  uwsgi_temp_path FOLDER/uwsgi;
  scgi_temp_path FOLDER/scgi;
  server {
    listen 127.0.0.1:PORT;
    location /health/ { return 200 "{}"; }
    location /slow { root FOLDER; limit_rate 100k; }
    location / { return 404 "{}"; }
  }
}
"""
_KEYS = """
stop_s = 4
timeout_s = 3
[drill]
start_s = 8
slow_path = "/slow"
slow_client_s = 2
"""


def _verdicts(folder: Path, program: tuple[str, ...], *rows: str) -> dict[str, str]:
    (folder / "seatrial.toml").write_text(_KEYS)
    only = [part for row in rows for part in ("--only", row)]
    found: dict[str, Any] = report("drill", *only, cwd=folder, program=program)
    for row in found["rows"]:
        # Shown if the test fails.
        sys.stdout.write(f"{row['id']} {row['verdict']} {row['reason']} {row['evidence']}\n")
    return {row["id"]: row["verdict"] for row in found["rows"]}


def _node(folder: Path, text: str) -> tuple[str, ...]:
    (folder / "server.cjs").write_text(text)
    return "node", str(folder / "server.cjs")


_STOP_ROWS = (
    "lifecycle-exit-code", "lifecycle-requests-in-flight", "lifecycle-new-connections",
    "lifecycle-readiness-first",
)  # fmt: skip


def test_careful_node_passes(tmp_path: Path) -> None:
    rows = (
        *_STOP_ROWS,
        "lifecycle-stop",
        "lifecycle-keep-alive",
        "lifecycle-half-sent",
        "lifecycle-taken-port",
    )
    rows += ("logs-json", "logs-forgery", "logs-access-complete", "logs-trace-id", "logs-timestamp")
    rows += ("logs-no-credentials", "config-wrong-value", "edge-slow-header", "lifecycle-second-signal")
    assert _verdicts(tmp_path, _node(tmp_path, _CAREFUL_NODE), *rows) == dict.fromkeys(rows, "pass")


def test_naive_node_fails(tmp_path: Path) -> None:
    rows = (*_STOP_ROWS, "lifecycle-taken-port", "logs-json", "logs-forgery", "logs-no-credentials")
    rows += ("config-wrong-value",)
    program = _node(tmp_path, _NAIVE_NODE.replace("DECODE", "unescape"))
    assert _verdicts(tmp_path, program, *rows) == dict.fromkeys(rows, "fail")


def test_node_that_a_request_ends_fails(tmp_path: Path) -> None:
    # `decodeURIComponent` raises for invalid UTF-8.
    program = _node(tmp_path, _NAIVE_NODE.replace("DECODE", "decodeURIComponent"))
    assert _verdicts(tmp_path, program, "logs-forgery") == {"logs-forgery": "fail"}


@pytest.mark.parametrize(("is_replacing", "verdict"), [(True, "pass"), (False, "fail")])
def test_worker_of_a_node_cluster(is_replacing: bool, verdict: str, tmp_path: Path) -> None:
    program = _node(tmp_path, _CLUSTER.replace("REPLACE", str(is_replacing).lower()))
    row = "lifecycle-worker-crash"
    assert _verdicts(tmp_path, program, row) == {row: verdict}


def test_worker_crash_does_not_apply_to_one_process(tmp_path: Path) -> None:
    rows = ("lifecycle-worker-crash",)
    program = _node(tmp_path, _CAREFUL_NODE)
    # A shell that waits for the service is no main process of it.
    in_shell = ("sh", "-c", f"{' '.join(program)}; true")
    (tmp_path / "seatrial.toml").write_text(_KEYS)
    for each in (program, in_shell):
        done = report("drill", "--only", *rows, cwd=tmp_path, program=each, code=(2,))
        assert [row["verdict"] for row in done["rows"]] == ["not applicable"]


def test_shell_that_does_not_pass_the_signal_on_fails(tmp_path: Path) -> None:
    program = " ".join(_node(tmp_path, _CAREFUL_NODE))
    row = "lifecycle-stop"
    assert _verdicts(tmp_path, ("sh", "-c", f"{program}; true"), row) == {row: "fail"}
    assert _verdicts(tmp_path, ("sh", "-c", f"exec {program}"), row) == {row: "pass"}


@pytest.mark.parametrize(("timeout", "slow_header"), [("1s", "pass"), ("60s", "fail")])
def test_nginx(timeout: str, slow_header: str, tmp_path: Path) -> None:
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") or "nginx"
    text = _NGINX.replace("FOLDER", str(tmp_path)).replace("HEADER_TIMEOUT", timeout)
    (tmp_path / "template.conf").write_text(text)
    (tmp_path / "slow").write_bytes(b"a" * 150_000)
    configure = f"sed s/PORT/{{port}}/ {tmp_path}/template.conf > {tmp_path}/{{port}}.conf"
    program = ("sh", "-c", f"{configure} && exec {nginx} -p {tmp_path} -c {tmp_path}/{{port}}.conf")
    # SIGTERM is the fast shutdown of nginx; SIGQUIT is the graceful one.
    expected = {
        "lifecycle-worker-crash": "pass",
        "lifecycle-stop": "pass",
        "lifecycle-exit-code": "pass",
        "lifecycle-requests-in-flight": "fail",
        "lifecycle-readiness-first": "fail",
        "lifecycle-new-connections": "fail",
        "edge-slow-header": slow_header,
    }
    assert _verdicts(tmp_path, program, *expected) == expected
