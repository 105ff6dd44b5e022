"""The command line as a process, and its report."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from reference_server import ALLOWED_ORIGIN, ReferenceServer
from reference_tokens import token

CONFIG = f"""
timeout_s = 3
[auth]
token = "{token()}"
protected_path = "/items"
expired_token = "{token(lifetime_s=-3600)}"
foreign_token = "{token(audience="another")}"
[cors]
allowed_origins = ["{ALLOWED_ORIGIN}"]
[safe_write]
path = "/items"
"""


def seatrial(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "seatrial", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def report(
    *arguments: str, cwd: Path, code: tuple[int, ...] = (0, 1), program: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Return the report of a run, whose arguments end with a program to drill, if any."""
    ending = ("--", *program) if program else ()
    done = seatrial(*arguments, "--format", "json", *ending, cwd=cwd)
    assert done.returncode in code, done.stderr + done.stdout
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["exit_code"] == done.returncode
    return document


def rows_of(server: ReferenceServer, *arguments: str, cwd: Path, config: str = CONFIG) -> dict[str, Any]:
    """Return the rows of a run against a server, by identifier."""
    (cwd / "seatrial.toml").write_text(config)
    document = report("check", server.url, "--admin", server.admin_url, *arguments, cwd=cwd)
    return {row["id"]: row for row in document["rows"]}
