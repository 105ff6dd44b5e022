"""Contenders: title, installation and command."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from ..server_process import ServerProcess
from ..stacks import ENVIRONMENTS, environment, granian, installed_python

HERE = Path(__file__).parent / "contenders"
_OTEL_SDK = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
_LITESTAR = ("litestar[prometheus,opentelemetry,structlog]>=2.25,<3", "granian==2.8.*", "uvloop", *_OTEL_SDK)
_FASTAPI = (
    "fastapi>=0.115,<1",
    "uvicorn[standard]",
    "prometheus-fastapi-instrumentator",
    "opentelemetry-instrumentation-fastapi",
    "python-json-logger",
    *_OTEL_SDK,
)


class Contender(NamedTuple):
    """A stack that serves the handler.

    Attributes:
        title: What it is, for the report.
        command: Returns the command that starts it; installs what it needs first.
        has_spans: Whether it exports a span for each request.
        is_multiprocess: Whether its metrics are shared between processes (`PROMETHEUS_MULTIPROC_DIR`).
    """

    title: str
    command: Callable[[], list[str]]
    has_spans: bool = True
    is_multiprocess: bool = True

    def serve(self, endpoint: str, directory: Path) -> ServerProcess:
        """Start it, with an OTLP endpoint for its spans and a directory for its files."""
        env = environment(endpoint)
        if self.is_multiprocess:
            directory.mkdir()
            env["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
        return ServerProcess(self.command(), cwd=HERE, env=env)


def _fastify() -> list[str]:
    home, node, npm = ENVIRONMENTS / "fastify", shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise SystemExit("node and npm are not installed: apt-get install nodejs npm, or choose --contenders")
    shutil.copytree(HERE / "fastify_otel", home, dirs_exist_ok=True)
    if not (home / "complete").exists():
        subprocess.run([npm, "install", "--no-audit", "--no-fund", "--silent"], cwd=home, check=True)
        (home / "complete").touch()
    return [node, str(home / "server.cjs")]


CONTENDERS: Mapping[str, Contender] = {
    "litestar_bare": Contender("bare Litestar on Granian", lambda: granian("litestar_bare"), has_spans=False),
    "starkeel": Contender(
        "Starkeel, everything on: telemetry, edge, drain",
        lambda: [sys.executable, str(HERE / "starkeel.py")],
    ),
    "starkeel_telemetry": Contender(
        "Starkeel, telemetry only (starkeel-observability)", lambda: granian("starkeel_telemetry")
    ),
    "starkeel_otel_sdk": Contender(
        "Starkeel, telemetry only, spans by the OpenTelemetry SDK", lambda: granian("starkeel_otel_sdk")
    ),
    "litestar_plugins": Contender(
        "Litestar with its own plugins: OpenTelemetry, Prometheus, structlog",
        lambda: granian("litestar_plugins", installed_python("litestar", _LITESTAR)),
    ),
    "fastapi_otel": Contender(
        "FastAPI on uvicorn with OpenTelemetry, prometheus-instrumentator and JSON logs",
        lambda: [installed_python("fastapi", _FASTAPI), str(HERE / "fastapi_otel.py")],
        is_multiprocess=False,
    ),
    "fastify_otel": Contender(
        "Fastify with OpenTelemetry, fastify-metrics and pino", _fastify, is_multiprocess=False
    ),
}
