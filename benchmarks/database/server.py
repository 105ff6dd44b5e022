"""A contender that serves, and what it used."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from contenders import HERE, Contender

_TICK = os.sysconf("SC_CLK_TCK")


class Round(NamedTuple):
    """What one contender did in one round."""

    requests: int
    seconds: float
    cpu_s: float

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU a request."""
        return self.cpu_s / self.requests * 1e6

    @property
    def per_s(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


class Server:
    """A contender, served by one worker of Granian, on the first core where it can be pinned."""

    def __init__(self, contender: Contender, *, database: str, endpoint: str) -> None:
        self._port = _free_port()
        # Read and thrown away by somebody, as a container's log is.
        self._sink = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        environ = contender.environ(
            database=database, endpoint=endpoint, port=self._port, admin_port=_free_port()
        )
        self._process = subprocess.Popen(
            [*pinned(0), *contender.command()],
            cwd=HERE,
            env=environ,
            stdout=self._sink.stdin,
            stderr=subprocess.STDOUT,
        )
        self._runs = 0
        _until_open(self._port)

    def load(self, operation: str, seconds: int, connections: int) -> Round:
        """Ask as fast as it answers, by wrk on the other core."""
        self._runs += 1
        run = f"{self._port}-{self._runs}-{time.time_ns()}"
        environ = {"PATH": os.environ["PATH"], "BENCH_OPERATION": operation, "BENCH_RUN": run}
        command = [
            *pinned(1),
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "-s",
            str(HERE / "requests.lua"),
        ]
        before, began = self._cpu_s(), time.monotonic()
        url = f"http://127.0.0.1:{self._port}"
        text = subprocess.run([*command, url], check=True, capture_output=True, text=True, env=environ).stdout
        found = re.search(r"(\d+) requests in", text)
        if found is None or "Non-2xx" in text or "Socket errors" in text:
            raise SystemExit(f"requests failed:\n{text}")
        elapsed = time.monotonic() - began
        # What was asked and not told yet is part of the cost.
        time.sleep(1.0)
        return Round(int(found[1]), elapsed, self._cpu_s() - before)

    def close(self) -> None:
        """End it."""
        end(self._process)
        end(self._sink)

    def _cpu_s(self) -> float:
        """CPU time of main and worker with all their threads."""
        return sum(map(_used_s, [self._process.pid, *_children(self._process.pid)]))


def pinned(core: int) -> list[str]:
    """What a command is prefixed by to have it run on one core."""
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[core])] if len(cores) > 1 and shutil.which("taskset") else []


def end(process: "subprocess.Popen[Any]") -> None:
    """End a process, gently first."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _used_s(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / _TICK


def _children(pid: int) -> list[int]:
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (thread / "children").read_text().split()]
    return found + [grand for child in found for grand in _children(child)]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _until_open(port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise SystemExit(f"nothing listens on {port}")
