"""Rows of `drill` that could not be judged never pass."""

import sys
from pathlib import Path

import pytest
from command import report, seatrial

_SILENT = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200 if self.path.startswith("/health/") else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
_JUDGED_WITHOUT_KEYS = {
    "lifecycle-stop", "lifecycle-half-sent", "lifecycle-boot-signal", "lifecycle-start-time",
    "lifecycle-keep-alive", "logs-no-credentials",
}  # fmt: skip


def test_silent_service_without_keys_passes_nothing_that_was_not_seen(tmp_path: Path) -> None:
    (tmp_path / "silent.py").write_text(_SILENT)
    (tmp_path / "seatrial.toml").write_text("stop_s = 3\n[drill]\nslow_client_s = 1\nstart_s = 8\n")
    rows = ("lifecycle", "logs", "traces", "metrics", "data", "health", "edge")
    only = [part for row in rows for part in ("--only", row)]
    program = (sys.executable, str(tmp_path / "silent.py"))
    found = {row["id"]: row for row in report("drill", *only, cwd=tmp_path, program=program)["rows"]}
    passing = {name for name, row in found.items() if row["verdict"] == "pass"}
    assert passing <= _JUDGED_WITHOUT_KEYS
    unknown = {name: row["reason"] for name, row in found.items() if row["verdict"] == "unknown"}
    keys = {
        "lifecycle-requests-in-flight": "drill.slow_path",
        "lifecycle-event-stream": "drill.stream_path",
        "lifecycle-websocket": "drill.websocket_path",
        "lifecycle-boot-without-database": "drill.boot_without_database",
        "health-liveness-without-database": "drill.database_stop",
        "health-saturated": "drill.slow_path",
        "data-outage-status": "drill.database_stop",
        "edge-request-timeout": "drill.endless_path",
        "edge-rate-limit": "drill.limited_path",
        "traces-name": "safe_read.path",
    }
    assert {name: key for name, key in keys.items() if key in unknown[name]} == keys
    assert {"logs-access-complete", "logs-json"} <= {
        n for n, row in found.items() if row["verdict"] == "fail"
    }


def test_budget_that_does_not_suffice_for_a_start_could_not_run(tmp_path: Path) -> None:
    (tmp_path / "silent.py").write_text(_SILENT)
    program = (sys.executable, str(tmp_path / "silent.py"))
    done = seatrial("drill", "--request-budget", "1", "--", *program, cwd=tmp_path)
    assert done.returncode == 2
    assert "COMMAND: not ready: the request budget of 1 is used up" in done.stderr
    assert done.stderr.count("\n") == 1


def test_used_up_budget_leaves_rows_unknown(tmp_path: Path) -> None:
    (tmp_path / "silent.py").write_text(_SILENT)
    program = (sys.executable, str(tmp_path / "silent.py"))
    # Enough for the start, and not for the requests of the row.
    limits = ("--request-budget", "45", "--only", "logs-access-complete")
    found = report("drill", *limits, cwd=tmp_path, program=program, code=(2,))
    assert "the request budget of 45 is used up" in found["rows"][0]["reason"]


@pytest.mark.parametrize("key", ["database_stop", "database_start"])
def test_failing_command_of_the_database_is_unknown(key: str, tmp_path: Path) -> None:
    (tmp_path / "silent.py").write_text(_SILENT)
    commands = {"database_stop": ["true"], "database_start": ["true"], key: ["false"]}
    lines = [f"{name} = {command!r}" for name, command in commands.items()]
    (tmp_path / "seatrial.toml").write_text("\n".join(["[drill]", *lines]))
    program = (sys.executable, str(tmp_path / "silent.py"))
    only = ("--only", "health-liveness-without-database")
    found = report("drill", *only, cwd=tmp_path, program=program, code=(2,))
    assert f"drill.{key}: false failed (CalledProcessError)" in found["rows"][0]["reason"]


def test_refused_safe_read_could_not_run(tmp_path: Path) -> None:
    (tmp_path / "silent.py").write_text(_SILENT)
    (tmp_path / "seatrial.toml").write_text('[safe_read]\npath = "/items"\n')
    done = seatrial("drill", "--", sys.executable, str(tmp_path / "silent.py"), cwd=tmp_path)
    assert done.returncode == 2
    assert "safe_read.path: GET /items is answered 404" in done.stderr


def test_service_that_closes_each_connection_is_judged(tmp_path: Path) -> None:
    text = _SILENT.replace('"HTTP/1.1"', '"HTTP/1.0"')
    body = '# TYPE http_requests_total counter\\nhttp_requests_total{method="GET",status="404"} 1\\n'
    metrics = f"""        if self.path == "/metrics":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{body}')
            return
"""
    text = text.replace("    def do_GET(self):\n", f"    def do_GET(self):\n{metrics}")
    (tmp_path / "closing.py").write_text(text)
    program = (sys.executable, str(tmp_path / "closing.py"))
    only = (
        "--only",
        "metrics-cardinality-flood",
        "--only",
        "metrics-total",
        "--only",
        "lifecycle-keep-alive",
    )
    found = report("drill", *only, cwd=tmp_path, program=program)
    verdicts = {row["id"]: (row["verdict"], row["reason"]) for row in found["rows"]}
    # Of more connections than the process may have open at once.
    assert verdicts["metrics-cardinality-flood"][0] == "pass", verdicts
    assert verdicts["metrics-total"][0] == "fail", verdicts
    assert verdicts["lifecycle-keep-alive"][0] == "not applicable", verdicts
