"""Services on other stacks, as the documentation of each recommends to deploy them."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen
from uuid import uuid4

import jwt
from starkeel_testing import wait_until

from benchmarks.server_process import ServerProcess
from benchmarks.stacks import ENVIRONMENTS, installed_python

from ..registry import ROOT
from .drills import rows_for_absent
from .subject import Subject

APPLICATIONS = ROOT / "benchmarks/seatrial/peers"
_START_S = 60.0
_PATIENCE_S = 35
"""Longer than the timeouts of gunicorn and Granian."""
_ORIGIN = "https://app.example"
_FASTAPI = ("fastapi[standard]", "prometheus-fastapi-instrumentator", "pyjwt")
_DJANGO = (
    "django",
    "djangorestframework",
    "djangorestframework-simplejwt",
    "django-cors-headers",
    "django-prometheus",
    "drf-spectacular",
    "gunicorn",
)
_LITESTAR = ("litestar[standard,jwt,prometheus,structlog]>=2.25,<3", "granian")


class Peer(NamedTuple):
    """A stack.

    Attributes:
        title: Name in the comparison.
        folder: Folder of its application in benchmarks/seatrial/peers.
        command: Returns the command for a port; installs what it needs first.
        versions: Returns the versions of its parts, once it is installed.
        is_multiprocess: Whether several processes share metrics.
    """

    title: str
    folder: str
    command: Callable[[str], list[str]]
    versions: Callable[[], str]
    is_multiprocess: bool = False


def _uvicorn(port: str) -> list[str]:
    python = installed_python("peer-fastapi", _FASTAPI)
    folder = ("--app-dir", str(APPLICATIONS / "fastapi_uvicorn"))
    options = ["--host", "127.0.0.1", "--port", port, "--proxy-headers", *folder]
    return [python, "-m", "uvicorn", "app:app", *options]


def _gunicorn(port: str) -> list[str]:
    python = installed_python("peer-django", _DJANGO)
    folder = str(APPLICATIONS / "django_gunicorn")
    options = ["--chdir", folder, "--config", f"{folder}/gunicorn.conf.py", "--bind", f"127.0.0.1:{port}"]
    return [python, "-m", "gunicorn", *options, "shop:application"]


def _granian(port: str) -> list[str]:
    python = installed_python("peer-litestar", _LITESTAR)
    options = ["--interface", "asgi", "--host", "127.0.0.1", "--port", port]
    options += ["--working-dir", str(APPLICATIONS / "litestar_granian")]
    return [python, "-m", "granian", *options, "app:app"]


def _node(_port: str) -> list[str]:
    home, node, npm = ENVIRONMENTS / "peer-fastify", shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise FileNotFoundError("node and npm are not installed: apt-get install nodejs npm")
    shutil.copytree(APPLICATIONS / "fastify", home, dirs_exist_ok=True)
    if not (home / "complete").exists():
        subprocess.run([npm, "install", "--no-audit", "--no-fund", "--silent"], cwd=home, check=True)
        (home / "complete").touch()
    return [node, str(home / "server.cjs")]


def _of_python(environment: str, *names: str) -> str:
    python = ENVIRONMENTS / environment / "bin" / "python"
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    printed = subprocess.run([python, "-c", code, *names], check=True, capture_output=True, text=True).stdout
    return ", ".join(f"{name} {version}" for name, version in zip(names, printed.split(), strict=True))


def _of_node() -> str:
    file = ENVIRONMENTS / "peer-fastify/node_modules/fastify/package.json"
    node = subprocess.run(["node", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    return f"fastify {json.loads(file.read_text('utf-8'))['version']}, Node {node.removeprefix('v')}"


PEERS = (
    Peer(
        "FastAPI on uvicorn",
        "fastapi_uvicorn",
        _uvicorn,
        lambda: _of_python("peer-fastapi", "fastapi", "uvicorn", "prometheus-fastapi-instrumentator"),
    ),
    Peer(
        "Django on gunicorn",
        "django_gunicorn",
        _gunicorn,
        lambda: _of_python("peer-django", "django", "djangorestframework", "gunicorn", "django-prometheus"),
        is_multiprocess=True,
    ),
    Peer(
        "Litestar on Granian",
        "litestar_granian",
        _granian,
        lambda: _of_python("peer-litestar", "litestar", "granian"),
    ),
    Peer("Fastify on Node", "fastify", _node, _of_node),
)


@contextmanager
def running_peer(peer: Peer, folder: Path) -> Iterator[Subject]:
    """Run a service on a stack until the block ends.

    Args:
        peer: The stack.
        folder: Empty folder for its files.

    Raises:
        AssertionError: It did not answer in time.
    """
    secret = uuid4().hex
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = str(reserved.getsockname()[1])
    env = {"PATH": os.environ["PATH"], "PORT": port, "JWT_SECRET": secret, "ORIGIN": _ORIGIN}
    env["HOME"] = str(folder)
    if peer.is_multiprocess:
        env["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    command = peer.command(port)
    with closing(ServerProcess(command, cwd=APPLICATIONS / peer.folder, env=env)) as server:
        wait_until(lambda: _is_healthy(server.url), timeout_s=_START_S, what=f"{peer.title} to answer")
        drilled = {name: env[name] for name in ("JWT_SECRET", "ORIGIN")}
        yield Subject(name=peer.title, keys=_keys(server.url, secret) | _drill(peer, drilled))


def _is_healthy(url: str) -> bool:
    try:
        with urlopen(f"{url}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (OSError, HTTPException):
        return False


def _drill(peer: Peer, env: Mapping[str, str]) -> dict[str, object]:
    """Return the keys with which a peer is drilled; it has no database, streams or limits of a rate."""
    command = peer.command("{port}")
    if peer.is_multiprocess:
        # Values of an earlier instance would be counted again.
        fresh = 'export PROMETHEUS_MULTIPROC_DIR=$(mktemp -d "{folder}/metrics-XXXXXX"); exec "$@"'
        command = ["sh", "-ec", fresh, "sh", *command]
    drill = {
        "command": command,
        "env": dict(env),
        "slow_path": "/slow",
        "endless_path": "/endless",
        "error_path": "/error",
        "request_timeout_s": _PATIENCE_S,
        "slow_client_s": _PATIENCE_S,
        "required_variable": "JWT_SECRET",
        "secret_variables": ["JWT_SECRET"],
    }
    return {"drill": drill, "skip": rows_for_absent(drill), "safe_read": {"path": "/items"}}


def _keys(url: str, secret: str) -> dict[str, object]:
    now = int(time.time())
    claims = {"sub": "1", "aud": "shop", "iat": now, "exp": now + 3600}
    # Of simplejwt.
    claims |= {"token_type": "access", "user_id": "1", "jti": uuid4().hex}

    def signed(**changes: object) -> str:
        return jwt.encode({**claims, **changes}, secret, algorithm="HS256")

    auth: Mapping[str, str] = {
        "token": signed(),
        "expired_token": signed(iat=now - 7200, exp=now - 3600),
        "foreign_token": signed(aud="another"),
        "protected_path": "/items",
    }
    return {
        "url": url,
        "auth": auth,
        "cors": {"allowed_origins": [_ORIGIN]},
        "safe_write": {"path": "/items", "body": '{"name": "anchor", "quantity": 1}'},
    }
