"""Who takes part, each in an environment of its own, and how it is started."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".data" / "benchmarks"
# What all share is of one version.
_SHARED = (
    "granian",
    "uvloop",
    "sqlalchemy",
    "asyncpg",
    "greenlet",
    "litestar",
    "advanced-alchemy",
    "msgspec",
)
_TOLD = (
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-instrumentation-sqlalchemy",
    "structlog",
)
_PACKAGES = {
    "litestar": ("litestar[prometheus,opentelemetry,structlog]", "advanced-alchemy", *_TOLD),
    "fastapi": (
        "fastapi",
        "opentelemetry-instrumentation-fastapi",
        "prometheus-fastapi-instrumentator",
        *_TOLD,
    ),
}


class Contender(NamedTuple):
    """One who takes part.

    Args:
        name: Who.
        stack: `ours`, or whose environment it is.
        is_told: Whether telemetry is on.
        operations: What it is asked for.
    """

    name: str
    stack: str
    is_told: bool
    operations: tuple[str, ...] = ("read", "write")

    def command(self) -> list[str]:
        """What starts it."""
        if self.stack == "ours":
            return [sys.executable, "-m", "shop"]
        options = [
            "--interface",
            "asgi",
            "--http",
            "1",
            "--workers",
            "1",
            "--loop",
            "uvloop",
            "--no-access-log",
        ]
        return [_python(self.stack), "-m", "granian", *options, f"{self.stack}_app:app"]

    def environ(self, *, database: str, endpoint: str, port: int, admin_port: int) -> dict[str, str]:
        """Its environment.

        Args:
            database: URL of PostgreSQL.
            endpoint: Where spans go.
            port: Where it listens.
            admin_port: Where our metrics are.
        """
        environ = {
            "PATH": os.environ["PATH"],
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_MAX_QUEUE_SIZE": "200000",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
        }
        if self.stack != "ours":
            told = {"BENCH_TOLD": "1"} if self.is_told else {}
            place = {"GRANIAN_PORT": str(port), "GRANIAN_HOST": "127.0.0.1"}
            url = database.replace("postgresql://", "postgresql+asyncpg://")
            return environ | told | place | {"BENCH_DATABASE_URL": url}
        return environ | {
            "DATABASE_URL": database,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "METRICS_HOST": "127.0.0.1",
            "METRICS_PORT": str(admin_port),
            "SERVICE_VERSION": "1",
        }


CONTENDERS = (
    Contender("ours", "ours", is_told=True, operations=("read", "write", "once")),
    Contender("litestar", "litestar", is_told=True),
    Contender("fastapi", "fastapi", is_told=True),
    Contender("litestar bare", "litestar", is_told=False),
    Contender("fastapi bare", "fastapi", is_told=False),
)


def _python(stack: str) -> str:
    home = ENVIRONMENTS / f"database-{stack}"
    python = home / "bin" / "python"
    if not python.exists():
        uv = shutil.which("uv") or "uv"
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(home)], check=True)
        same = [f"{name}=={version(name)}" for name in _SHARED if name not in _UNWANTED[stack]]
        install = [uv, "pip", "install", "--quiet", "--python", str(python)]
        subprocess.run([*install, *_PACKAGES[stack], *same], check=True)
    return str(python)


_UNWANTED = {"litestar": (), "fastapi": ("litestar", "advanced-alchemy", "msgspec")}
