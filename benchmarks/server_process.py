"""A server under measurement: its process, pinned to one core, and the resources it uses."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_START_TIMEOUT_S = 120.0


class ServerProcess:
    """A running server; where the machine has two cores, it runs on the first and its client on the second.

    Args:
        command: Starts the server.
        cwd: Working directory.
        env: Whole environment.
        port: Port of 127.0.0.1 that the server listens on.
    """

    def __init__(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        # Output goes through a pipe, as in a container, and is discarded.
        self._sink = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._process = subprocess.Popen(
            [*pinned(0), *command], cwd=cwd, env=env, stdout=self._sink.stdin, stderr=subprocess.STDOUT
        )
        _wait_until_open(port)

    @property
    def cpu_s(self) -> float:
        """CPU time of the server's processes and all their threads, in seconds."""
        return sum(map(_cpu_s, self._pids()))

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the server's processes."""
        page = os.sysconf("SC_PAGE_SIZE")
        return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in self._pids())

    def close(self) -> None:
        """Stop the server."""
        stop(self._process)
        stop(self._sink)

    def _pids(self) -> list[int]:
        return [self._process.pid, *_descendants(self._process.pid)]


def pinned(core: int) -> list[str]:
    """Return the prefix of a command that pins it to a core; empty where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[core])] if len(cores) > 1 and shutil.which("taskset") else []


def stop(process: "subprocess.Popen[Any]") -> None:
    """Stop a process with SIGTERM, and with SIGKILL after 20 s."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return an unused port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        return int(reserved.getsockname()[1])


def _cpu_s(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / _CLOCK_TICKS


def _descendants(pid: int) -> list[int]:
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (thread / "children").read_text().split()]
    return found + [pid for child in found for pid in _descendants(child)]


def _wait_until_open(port: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise SystemExit(f"the server does not listen on port {port} after {_START_TIMEOUT_S:.0f} s")
