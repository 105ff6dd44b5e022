"""Contenders: module, installation and command."""

import sys
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from ..server_process import ServerProcess
from ..stacks import environment, granian, installed_python

HERE = Path(__file__).parent / "contenders"
_OTEL_SDK = (
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-instrumentation-sqlalchemy",
    "structlog",
)
_PACKAGES = {
    "litestar_advanced_alchemy": ("litestar[prometheus,opentelemetry,structlog]", *_OTEL_SDK),
    "fastapi_sqlalchemy": (
        "fastapi",
        "opentelemetry-instrumentation-fastapi",
        "prometheus-fastapi-instrumentator",
        *_OTEL_SDK,
    ),
}
# Of these every contender has the workspace's own version.
_SHARED = ("granian", "uvloop", "sqlalchemy", "asyncpg", "greenlet")
_SAME_VERSIONS = {
    "litestar_advanced_alchemy": (*_SHARED, "litestar", "advanced-alchemy", "msgspec"),
    "fastapi_sqlalchemy": _SHARED,
}


class Contender(NamedTuple):
    """A stack that serves the handlers with one worker.

    Attributes:
        module: What is started, `starkeel` or a module with an `app`.
        has_telemetry: Whether it has its usual telemetry, with a span for each request.
        operations: What it serves: `read`, `write`, `write_once`.
    """

    module: str
    has_telemetry: bool
    operations: tuple[str, ...] = ("read", "write")

    def serve(self, *, database: str, endpoint: str) -> ServerProcess:
        """Start it on a PostgreSQL, with an OTLP endpoint for its spans."""
        env = environment(endpoint) | {
            "DATABASE_URL": database,
            "BENCH_DATABASE_URL": database.replace("postgresql://", "postgresql+asyncpg://"),
            "BENCH_TELEMETRY": "1" if self.has_telemetry else "",
        }
        return ServerProcess(self._command(), cwd=HERE, env=env)

    def _command(self) -> list[str]:
        if self.module == "starkeel":
            return [sys.executable, "-m", "starkeel"]
        same = tuple(f"{name}=={version(name)}" for name in _SAME_VERSIONS[self.module])
        python = installed_python(f"database-{self.module}", (*_PACKAGES[self.module], *same))
        return granian(self.module, python)


CONTENDERS = {
    "starkeel": Contender("starkeel", has_telemetry=True, operations=("read", "write", "write_once")),
    "litestar_otel": Contender("litestar_advanced_alchemy", has_telemetry=True),
    "fastapi_otel": Contender("fastapi_sqlalchemy", has_telemetry=True),
    "litestar_bare": Contender("litestar_advanced_alchemy", has_telemetry=False),
    "fastapi_bare": Contender("fastapi_sqlalchemy", has_telemetry=False),
}
