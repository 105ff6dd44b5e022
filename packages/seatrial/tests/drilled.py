"""Runs of `seatrial drill` on the drilled service."""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import report

TESTS = Path(__file__).parent
SERVICE = TESTS / "drilled_service.py"
API_KEY = "a-secret-of-the-drilled-service"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass(frozen=True)
class Database:
    """The database of the drilled service, as a process of its own."""

    port: int
    file: Path

    def command(self, action: str) -> list[str]:
        return [sys.executable, str(TESTS / "drilled_database.py"), action, str(self.port), str(self.file)]


@contextlib.contextmanager
def database(folder: Path) -> Iterator[Database]:
    found = Database(free_port(), folder / "database.pid")
    subprocess.run(found.command("start"), check=True, timeout=20)
    try:
        yield found
    finally:
        subprocess.run(found.command("stop"), check=True, timeout=20)


def config(database: Database, *defects: str) -> str:
    return f"""
stop_s = 5
timeout_s = 3
[safe_read]
path = "/items"
[drill]
admin_port_variable = "ADMIN_PORT"
start_s = 6
slow_path = "/slow"
stream_path = "/stream"
websocket_path = "/ws"
error_path = "/error"
endless_path = "/endless"
request_timeout_s = 3
slow_client_s = 2
database_stop = {json.dumps(database.command("stop"))}
database_start = {json.dumps(database.command("start"))}
boot_without_database = "waits"
required_variable = "API_KEY"
secret_variables = ["API_KEY"]
limited_method = "POST"
limited_path = "/login"

[drill.env]
API_KEY = "{API_KEY}"
DB_PORT = "{database.port}"
DEFECTS = "{",".join(defects)}"
"""


def drilled(database: Database, *defects: str, only: tuple[str, ...] = (), cwd: Path) -> dict[str, Any]:
    """Return the rows of a drill of the service, by identifier."""
    (cwd / "seatrial.toml").write_text(config(database, *defects))
    selected = [part for row in only for part in ("--only", row)]
    document = report("drill", *selected, cwd=cwd, program=(sys.executable, str(SERVICE)))
    return {row["id"]: row for row in document["rows"]}
