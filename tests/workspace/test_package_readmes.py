"""The quick starts of the packages' READMEs, run as written, with the packages' wheels.

A block of Python that begins with `# NAME.py` is a file. Shell blocks run in order; one that starts a server
runs until the end. The lines of a text block after a shell block are in its output, with `...` for any text.
The other blocks of Python are executed one after the other, after the imports in `CONTEXT`.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest
from starkeel_testing import wait_until

from tests.support.wheels import UV, run

ROOT = Path(__file__).parents[2]
READMES = sorted(ROOT.glob("packages/*/README.md"))
WAIT_S = 60.0
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# ([\w/]+\.py)\n")
_SERVER = re.compile(
    r"^(?:\w+=\S+ )*uv run (?:uvicorn \S+|python -m \w+|starkeel-dashboard --port 4318)$", re.MULTILINE
)
_ADDRESS = re.compile(r"(localhost:|127\.0\.0\.1:|--port )(8000|3000|9090|4318)")
_REDIS = "redis://127.0.0.1:6379/0"
# Of the test process, and what would change the commands of a user.
_NOT_INHERITED = re.compile(r"VIRTUAL_ENV|PYTHONPATH|PYTEST_.*|UV_.*|CI")

CONTEXT = {
    "auth": "",
    "client": """
from uuid import UUID
import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.exceptions import PermissionDeniedException
from starkeel_client import UpstreamClient, UpstreamProblemError
class Principal: token: str
class AccountsClient: ...
""",
    "db": """
from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncSession
from starkeel_db import DatabasePlugin, Outbox
""",
    "http": """
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
import msgspec
from litestar import Request, Response, WebSocket, get, post, websocket
from litestar.di import NamedDependency
from litestar.params import JSONBody
from starkeel_http import *
class AsyncSession: ...
class Order(msgspec.Struct): ...
class Credentials(msgspec.Struct): email: str
class Token(msgspec.Struct): ...
""",
    "server": """
from starkeel_server import ServerPlugin, sqlalchemy_check
""",
}
"""Imports of the fragments, and types that stand for those of an application."""


class Block(NamedTuple):
    language: str
    text: str

    @property
    def file(self) -> str | None:
        found = _FILE.match(self.text) if self.language == "python" else None
        return found[1] if found else None


def blocks(readme: Path) -> list[Block]:
    return [Block(*found) for found in _BLOCK.findall(readme.read_text("utf-8"))]


class Project:
    """A new project, whose commands find the wheels."""

    def __init__(self, directory: Path, wheels: Path, redis_url: str) -> None:
        self.directory = directory
        self._redis_url = redis_url
        self._ports = {name: _free_port() for name in ("8000", "3000", "9090", "4318")}
        ports = {"UVICORN_PORT": "8000", "PORT": "3000", "METRICS_PORT": "9090"}
        inherited = {name: value for name, value in os.environ.items() if not _NOT_INHERITED.fullmatch(name)}
        self.env = inherited | {
            "UV_FIND_LINKS": str(wheels),
            "UV_PYTHON": sys.executable,
            "PATH": f"{Path(UV).parent}:{os.environ['PATH']}",
            **{variable: str(self._ports[name]) for variable, name in ports.items()},
        }
        run([UV, "init", "--quiet", "--bare", "--name", "example"], cwd=directory)

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def shell(self, text: str) -> str:
        """Run a block and return its output."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"exec 2>&1\n{self._local(text)}"],
            cwd=self.directory, env=self.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}"
        return done.stdout

    @contextmanager
    def server(self, command: str) -> Iterator[None]:
        """Run a server until the block ends."""
        servers = {"uvicorn": "8000", "starkeel-dashboard": "4318"}
        port = self._ports[next((name for program, name in servers.items() if program in command), "3000")]
        log = self.directory / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"exec env {self._local(command)}"],
                cwd=self.directory, env=self.env, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip

            def is_answering() -> bool:
                assert process.poll() is None, log.read_text()
                try:
                    return httpx2.get(f"http://127.0.0.1:{port}/", timeout=5).status_code > 0
                except httpx2.HTTPError:
                    return False

            try:
                wait_until(is_answering, timeout_s=WAIT_S, what=lambda: f"{command}\n{log.read_text()}")
                yield
            finally:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(WAIT_S)
                finally:
                    if process.poll() is None:
                        os.killpg(process.pid, signal.SIGKILL)

    def _local(self, text: str) -> str:
        text = text.replace(_REDIS, shlex.quote(self._redis_url))
        return _ADDRESS.sub(lambda found: f"{found[1]}{self._ports[found[2]]}", text)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@pytest.mark.timeout(300)
@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.parent.name)
def test_a_readme_runs_as_written(
    readme: Path, wheels: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    found = blocks(readme)
    needs_redis = any(_REDIS in block.text for block in found)
    redis_url = request.getfixturevalue("redis_url") if needs_redis else ""
    project = Project(tmp_path, wheels, redis_url)
    name = tomllib.loads((readme.parent / "pyproject.toml").read_text("utf-8"))["project"]["name"]
    assert any(block.text.startswith(f"uv add {name}") for block in found) or (
        "uv add --dev starkeel-testing" in readme.read_text("utf-8")
    )
    compared, output = 0, ""
    with ExitStack() as servers:
        for before, block in zip([None, *found], found, strict=False):
            if block.file:
                project.write(block.file, block.text)
            elif block.language == "sh" and (command := _SERVER.search(block.text)):
                project.shell(block.text[: command.start()])
                servers.enter_context(project.server(command[0]))
            elif block.language == "sh":
                output = project.shell(block.text)
            elif block.language == "text" and before is not None and before.language == "sh":
                compared += 1
                _compare(block.text, output)
        assert compared > 0, "no shell block is followed by its output"
    _execute_fragments(readme, project)


def _compare(expected: str, output: str) -> None:
    lines = [line.strip() for line in output.splitlines()]
    for line in filter(None, expected.splitlines()):
        pattern = re.sub(r"([\[*?])", r"[\1]", line.strip()).replace("...", "*")
        assert any(fnmatchcase(each, pattern) for each in lines), f"{line!r} is not in\n{output}"


def _execute_fragments(readme: Path, project: Project) -> None:
    fragments = [block.text for block in blocks(readme) if block.language == "python" and not block.file]
    if not fragments:
        return
    context = CONTEXT[readme.parent.name]
    for number, fragment in enumerate(fragments):
        project.write(f"fragment_{number}.py", f"{context}\n{fragment}")
        project.shell(f"uv run --quiet python fragment_{number}.py")
