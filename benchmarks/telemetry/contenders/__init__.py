"""The contenders: what each is, how it is installed and how it is started."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from ...server_process import ServerProcess, free_port
from ...virtualenv import ENVIRONMENTS, installed_python

HERE = Path(__file__).parent
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
        command: Returns the command that starts it on a port; installs what it needs first.
        has_spans: Whether it exports a span for each request.
        is_multiprocess: Whether its metrics are shared between processes (`PROMETHEUS_MULTIPROC_DIR`).
    """

    title: str
    command: Callable[[str], list[str]]
    has_spans: bool = True
    is_multiprocess: bool = True

    def serve(self, endpoint: str, directory: Path) -> ServerProcess:
        """Start it.

        Args:
            endpoint: OTLP endpoint for its spans.
            directory: For its files.
        """
        port = free_port()
        env = {
            "PATH": os.environ["PATH"],
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "METRICS_HOST": "127.0.0.1",
            "METRICS_PORT": "0",
            "DRAIN_DELAY_SECONDS": "0",
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_MAX_QUEUE_SIZE": "100000",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "SERVICE_VERSION": "1",
        }
        if self.is_multiprocess:
            directory.mkdir()
            env["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
        return ServerProcess(self.command(str(port)), cwd=HERE, env=env, port=port)


def _granian(module: str, python: Callable[[], str] = lambda: sys.executable) -> Callable[[str], list[str]]:
    options = ("--interface", "asgi", "--http", "1", "--workers", "1", "--loop", "uvloop", "--no-access-log")
    return lambda port: [python(), "-m", "granian", *options, "--port", port, f"{module}:app"]


def _fastify(port: str) -> list[str]:
    home, node, npm = ENVIRONMENTS / "fastify", shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise SystemExit("node and npm are not installed: apt-get install nodejs npm, or choose --contenders")
    shutil.copytree(HERE / "fastify_otel", home, dirs_exist_ok=True)
    if not (home / "complete").exists():
        subprocess.run([npm, "install", "--no-audit", "--no-fund", "--silent"], cwd=home, check=True)
        (home / "complete").touch()
    return [node, str(home / "server.cjs"), port]


CONTENDERS: Mapping[str, Contender] = {
    "litestar_bare": Contender("bare Litestar on Granian", _granian("litestar_bare"), has_spans=False),
    "starkeel": Contender(
        "Starkeel, everything on: telemetry, edge, drain",
        lambda _port: [sys.executable, str(HERE / "starkeel.py")],
    ),
    "starkeel_telemetry": Contender(
        "Starkeel, telemetry only (starkeel-observability)", _granian("starkeel_telemetry")
    ),
    "starkeel_otel_sdk": Contender(
        "Starkeel, telemetry only, spans by the OpenTelemetry SDK", _granian("starkeel_otel_sdk")
    ),
    "litestar_plugins": Contender(
        "Litestar with its own plugins: OpenTelemetry, Prometheus, structlog",
        _granian("litestar_plugins", lambda: installed_python("litestar", _LITESTAR)),
    ),
    "fastapi_otel": Contender(
        "FastAPI on uvicorn with OpenTelemetry, prometheus-instrumentator and JSON logs",
        lambda port: [installed_python("fastapi", _FASTAPI), str(HERE / "fastapi_otel.py"), port],
        is_multiprocess=False,
    ),
    "fastify_otel": Contender(
        "Fastify with OpenTelemetry, fastify-metrics and pino", _fastify, is_multiprocess=False
    ),
}
