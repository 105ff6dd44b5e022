"""Virtual environments, Granian, and environment variables of the contenders."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

ENVIRONMENTS = Path(__file__).parents[1] / ".data" / "benchmarks"


def installed_python(name: str, packages: tuple[str, ...]) -> str:
    """Return the interpreter of an environment with these packages; install them on the first call."""
    home = ENVIRONMENTS / name
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        uv = shutil.which("uv") or "uv"
        subprocess.run([uv, "venv", "--clear", "--quiet", "--python", sys.executable, str(home)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *packages], check=True)
        (home / "complete").touch()
    return str(python)


def granian(module: str, python: str = sys.executable) -> list[str]:
    """Return the command that serves a module's `app` with one worker, on GRANIAN_PORT."""
    options = ("--interface", "asgi", "--http", "1", "--workers", "1", "--loop", "uvloop", "--no-access-log")
    return [python, "-m", "granian", *options, f"{module}:app"]


def environment(endpoint: str) -> dict[str, str]:
    """Return the environment of a server: an unused port, and the OTLP endpoint for its spans."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = str(reserved.getsockname()[1])
    return {
        "PATH": os.environ["PATH"],
        "HOST": "127.0.0.1",
        "PORT": port,
        "GRANIAN_HOST": "127.0.0.1",
        "GRANIAN_PORT": port,
        "METRICS_HOST": "127.0.0.1",
        "METRICS_PORT": "0",
        "DRAIN_DELAY_SECONDS": "0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_BSP_MAX_QUEUE_SIZE": "200000",
        "OTEL_BSP_SCHEDULE_DELAY": "500",
        "SERVICE_VERSION": "1",
    }
