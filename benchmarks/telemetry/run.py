"""What telemetry costs: CPU time and throughput of the same handler, bare and with all of it, in one run.

Rounds of the contenders are interleaved, so that what else the machine does meets all of them. A round counts
only when as many spans were received as requests were answered.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONTENDERS = {"bare": False, "full": True, "stock": True}
TICK = os.sysconf("SC_CLK_TCK")
STOCK = (
    "litestar[prometheus,opentelemetry,structlog]>=2.25,<3",
    "granian==2.8.*",
    "uvloop",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http",
)


class Round(NamedTuple):
    """What one contender did."""

    requests: int
    seconds: float
    cpu_s: float


def main() -> None:
    """Run the rounds and print the ratios."""
    options = _options()
    pythons = {name: _python(name) for name in options.contenders}
    rounds: dict[str, list[Round]] = {name: [] for name in options.contenders}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        receiver, endpoint = _receiver()
        stack.callback(_end, receiver)
        servers = {name: _Server(name, pythons[name], endpoint, directory) for name in options.contenders}
        for server in servers.values():
            stack.callback(server.close)
            server.load(2, options.connections)
            _received(endpoint)
        for number in range(options.rounds):
            names = options.contenders if number % 2 == 0 else options.contenders[::-1]
            for name in names:
                done = servers[name].load(options.seconds, options.connections)
                if CONTENDERS[name]:
                    _prove(name, done.requests, endpoint)
                rounds[name].append(done)
                _print(f"{number + 1:>3} {name:<6} {_told(done)}")
    _report(rounds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS), choices=list(CONTENDERS))
    return parser.parse_args()


def _python(name: str) -> str:
    """The interpreter of a contender: ours, or one in an environment of its own."""
    if name != "stock":
        return sys.executable
    home = ROOT / ".data" / "benchmarks" / name
    python = home / "bin" / "python"
    if not python.exists():
        uv = shutil.which("uv") or "uv"
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(home)], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *STOCK], check=True)
    return str(python)


class _Server:
    """A contender, served by one worker of Granian, on the first core where it can be pinned."""

    def __init__(self, name: str, python: str, endpoint: str, directory: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = str(free.getsockname()[1])
        metrics = directory / name
        metrics.mkdir()
        environ = {
            "PATH": os.environ["PATH"],
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_BSP_MAX_QUEUE_SIZE": "100000",
            "OTEL_BSP_SCHEDULE_DELAY": "500",
            "SERVICE_VERSION": "1",
            "PROMETHEUS_MULTIPROC_DIR": str(metrics),
        }
        # Read and thrown away by somebody, as a container's log is.
        self._sink = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        command = [
            python,
            "-m",
            "granian",
            "--interface",
            "asgi",
            "--http",
            "1",
            "--workers",
            "1",
            "--loop",
            "uvloop",
        ]
        self._process = subprocess.Popen(
            [*_pinned(0), *command, "--no-access-log", "--port", self._port, f"{name}:app"],
            cwd=HERE,
            env=environ,
            stdout=self._sink.stdin,
            stderr=subprocess.STDOUT,
        )
        _until_open(int(self._port))

    def load(self, seconds: int, connections: int) -> Round:
        """Ask as fast as it answers, by wrk on the other core."""
        before, began = self._cpu_s(), time.monotonic()
        command = [*_pinned(1), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
        url = f"http://127.0.0.1:{self._port}/items/7"
        text = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
        found = re.search(r"(\d+) requests in", text)
        if found is None or "Non-2xx" in text or "Socket errors" in text:
            raise SystemExit(f"requests failed:\n{text}")
        elapsed = time.monotonic() - began
        # What was asked and not told yet is part of the cost.
        time.sleep(1.0)
        return Round(int(found[1]), elapsed, self._cpu_s() - before)

    def close(self) -> None:
        """End it."""
        _end(self._process)
        _end(self._sink)

    def _cpu_s(self) -> float:
        """CPU time of main and worker with all their threads."""
        return sum(map(_used_s, [self._process.pid, *_children(self._process.pid)]))


def _used_s(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / TICK


def _children(pid: int) -> list[int]:
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (thread / "children").read_text().split()]
    return found + [grand for child in found for grand in _children(child)]


def _pinned(core: int) -> list[str]:
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[core])] if len(cores) > 1 and shutil.which("taskset") else []


def _until_open(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise SystemExit(f"nothing listens on {port}")


def _receiver() -> tuple["subprocess.Popen[str]", str]:
    command = [*_pinned(1), sys.executable, str(HERE / "receiver.py")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, f"http://127.0.0.1:{process.stdout.readline().strip()}"


def _received(endpoint: str) -> int:
    with urllib.request.urlopen(endpoint, timeout=120) as answer:
        return int(answer.read())


def _prove(name: str, requests: int, endpoint: str) -> None:
    """Requests that wrk gave up at the end may be served, too: one for each connection at most."""
    spans = _received(endpoint)
    until = time.monotonic() + 20
    while spans < requests and time.monotonic() < until:
        time.sleep(0.5)
        spans += _received(endpoint)
    if not requests <= spans <= requests + 64:
        raise SystemExit(f"void: {name} answered {requests} requests and sent {spans} spans")


def _end(process: "subprocess.Popen[Any]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _told(done: Round) -> str:
    per_s, each_us = done.requests / done.seconds, done.cpu_s / done.requests * 1e6
    return f"{per_s:>8.0f} requests/s {each_us:>7.1f} us of CPU each"


def _report(rounds: dict[str, list[Round]]) -> None:
    _print(f"\n{sum(done.requests for done in rounds['bare'])} requests bare")
    for name in rounds:
        if name == "bare":
            continue
        pairs = list(zip(rounds["bare"], rounds[name], strict=True))
        cpu = [(b.cpu_s / b.requests) / (o.cpu_s / o.requests) for b, o in pairs]
        speed = [(o.requests / o.seconds) / (b.requests / b.seconds) for b, o in pairs]
        added = [(o.cpu_s / o.requests - b.cpu_s / b.requests) * 1e6 for b, o in pairs]
        _print(f"{name}: keeps {_spread(cpu)} of bare by CPU time, {_spread(speed)} by throughput")
        _print(f"{name}: adds {_spread(added, 1)} us of CPU a request")


def _spread(values: list[float], digits: int = 3) -> str:
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
    return f"{middle:.{digits}f} (quartiles {low:.{digits}f} to {high:.{digits}f})"


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
