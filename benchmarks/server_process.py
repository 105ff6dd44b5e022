"""A server under measurement: its process, pinned to one core, and the resources it uses."""

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from starkeel_testing import wait_until

_START_TIMEOUT_S = 120.0


class ServerProcess:
    """A running server; where the machine has two cores, it runs on the first and its client on the second.

    Args:
        command: Starts the server.
        cwd: Working directory.
        env: Whole environment, with the `PORT` of 127.0.0.1 that the server listens on.
    """

    def __init__(self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> None:
        address = ("127.0.0.1", int(env["PORT"]))
        self.url = f"http://{address[0]}:{address[1]}"
        # Output goes through a pipe, as in a container, and is discarded.
        self._sink = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self._process = subprocess.Popen(
            [*pinned(0), *command], cwd=cwd, env=env, stdout=self._sink.stdin, stderr=subprocess.STDOUT
        )
        wait_until(lambda: _is_open(address), timeout_s=_START_TIMEOUT_S, what=f"{command} to listen")

    @property
    def cpu_s(self) -> float:
        """CPU time of the server's processes and all their threads, in seconds."""
        times = [process.cpu_times() for process in self._processes()]
        return sum(each.user + each.system for each in times)

    @property
    def rss_bytes(self) -> int:
        """Resident memory of the server's processes."""
        return sum(process.memory_info().rss for process in self._processes())

    def close(self) -> None:
        """Stop the server."""
        stop(self._process)
        stop(self._sink)

    def _processes(self) -> list[psutil.Process]:
        main = psutil.Process(self._process.pid)
        return [main, *main.children(recursive=True)]


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


def _is_open(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=1).close()
    except OSError:
        return False
    return True
