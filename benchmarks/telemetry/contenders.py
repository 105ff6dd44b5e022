"""Who is measured: how each is installed, and how it is started."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
HOMES = HERE.parents[1] / ".data" / "benchmarks"
TICK = os.sysconf("SC_CLK_TCK")
_OTLP = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
_STOCK = ("litestar[prometheus,opentelemetry,structlog]>=2.25,<3", "granian==2.8.*", "uvloop", *_OTLP)
_FASTAPI = (
    "fastapi>=0.115,<1",
    "uvicorn[standard]",
    "prometheus-fastapi-instrumentator",
    "opentelemetry-instrumentation-fastapi",
    "python-json-logger",
    *_OTLP,
)
_GRANIAN = ("--interface", "asgi", "--http", "1", "--workers", "1", "--loop", "uvloop", "--no-access-log")


class Contender(NamedTuple):
    """Somebody who is measured.

    Attributes:
        tells: Whether it sends spans.
        command: How it is started on a port, having installed what it needs.
        what: What it is, for people.
    """

    tells: bool
    command: Callable[[str], list[str]]
    what: str


def _granian(module: str, python: Callable[[], str]) -> Callable[[str], list[str]]:
    return lambda port: [python(), "-m", "granian", *_GRANIAN, "--port", port, f"{module}:app"]


def _ours() -> str:
    return sys.executable


def _installed(name: str, packages: tuple[str, ...]) -> Callable[[], str]:
    """An interpreter in an environment of its own."""

    def python() -> str:
        home = HOMES / name
        found = home / "bin" / "python"
        if not (home / "complete").exists():
            uv = shutil.which("uv") or "uv"
            subprocess.run(
                [uv, "venv", "--clear", "--quiet", "--python", sys.executable, str(home)], check=True
            )
            subprocess.run([uv, "pip", "install", "--quiet", "--python", str(found), *packages], check=True)
            (home / "complete").touch()
        return str(found)

    return python


def _fastify(port: str) -> list[str]:
    home, node, npm = HOMES / "fastify", shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise SystemExit(
            "node and npm are not installed: apt-get install nodejs npm, or --contenders without fastify"
        )
    shutil.copytree(HERE / "fastify", home, dirs_exist_ok=True)
    if not (home / "complete").exists():
        command = [npm, "install", "--no-audit", "--no-fund", "--silent"]
        subprocess.run(command, cwd=home, check=True)
        (home / "complete").touch()
    return [node, str(home / "server.cjs"), port]


_fastapi = _installed("fastapi", _FASTAPI)
CONTENDERS: Mapping[str, Contender] = {
    "bare": Contender(False, _granian("bare", _ours), "bare Litestar on Granian"),
    "full": Contender(True, _granian("full", _ours), "with starkeel-observability"),
    "chassis": Contender(
        True, lambda _port: [sys.executable, str(HERE / "chassis.py")], "with the whole chassis"
    ),
    "stock": Contender(
        True, _granian("stock", _installed("stock", _STOCK)), "with Litestar's own three plugins"
    ),
    "fastapi": Contender(
        True,
        lambda port: [_fastapi(), str(HERE / "usual_fastapi.py"), port],
        "FastAPI on uvicorn with OpenTelemetry, prometheus-instrumentator and JSON lines",
    ),
    "fastify": Contender(True, _fastify, "Fastify with OpenTelemetry, fastify-metrics and pino"),
}


class Server:
    """A contender, served by one worker, on the first core where it can be pinned.

    Args:
        name: Who.
        endpoint: Where it sends spans.
        directory: For its files.
    """

    def __init__(self, name: str, endpoint: str, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{port}/items/7"
        metrics = directory / name
        metrics.mkdir()
        environ = {
            "PATH": os.environ["PATH"],
            "HOST": "127.0.0.1",
            "PORT": port,
            "METRICS_HOST": "127.0.0.1",
            "METRICS_PORT": "0",
            "DRAIN_DELAY_SECONDS": "0",
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_MAX_QUEUE_SIZE": "100000",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "SERVICE_VERSION": "1",
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        }
        if name in {"fastapi", "fastify"}:
            # With one process they need not share their values, and are faster without.
            del environ["PROMETHEUS_MULTIPROC_DIR"]
        # Read and thrown away by somebody, as a container's log is.
        self._sink = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._process = subprocess.Popen(
            [*pinned(0), *CONTENDERS[name].command(port)],
            cwd=HERE,
            env=environ,
            stdout=self._sink.stdin,
            stderr=subprocess.STDOUT,
        )
        _until_open(int(port))

    @property
    def cpu_s(self) -> float:
        """CPU time of its processes with all their threads."""
        return sum(map(_used_s, self._pids()))

    @property
    def rss_bytes(self) -> int:
        """Memory that its processes have."""
        page = os.sysconf("SC_PAGE_SIZE")
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in self._pids())

    def close(self) -> None:
        """End it."""
        end(self._process)
        end(self._sink)

    def _pids(self) -> list[int]:
        return [self._process.pid, *_children(self._process.pid)]


def end(process: "subprocess.Popen[Any]") -> None:
    """End a process, by force if it must be."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def pinned(core: int) -> list[str]:
    """What a command begins with that is to keep to a core."""
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[core])] if len(cores) > 1 and shutil.which("taskset") else []


def _used_s(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / TICK


def _children(pid: int) -> list[int]:
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (thread / "children").read_text().split()]
    return found + [grand for child in found for grand in _children(child)]


def _until_open(port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise SystemExit(f"nothing listens on {port}")
