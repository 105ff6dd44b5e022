"""`just dev` in a terminal."""

import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread

import psutil
from starkeel_testing import wait_until

from tools.registry import ROOT
from tools.workspace import Member, fleet

START_S = 60


def free_ports() -> int:
    """Return a free port that is followed by as many free ones as the services need."""
    members = fleet()
    highest = max(
        max(member.port - members[0].port, member.metrics_port - members[0].metrics_port)
        for member in members
    )
    while True:
        with ExitStack() as stack:
            first = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port: int = first.getsockname()[1]
            with suppress(OSError, OverflowError):
                for number in range(port + 1, port + highest + 1):
                    stack.enter_context(socket.create_server(("127.0.0.1", number)))
                return port


class Dev:
    """`just dev` in a terminal of its own."""

    def __init__(self, directory: Path, options: tuple[str, ...]) -> None:
        self.directory = directory
        self.ports = [str(free_ports()), str(free_ports())]
        terminal, child = pty.openpty()
        self._terminal = terminal
        self._text: list[str] = []
        environ = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools.dev", *self.ports, *options, "--directory", directory],
            stdin=child, stdout=child, stderr=child, cwd=ROOT, env=environ, start_new_session=True,
        )  # fmt: skip
        os.close(child)
        self._reading = Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._terminal, 65_536)
            except OSError:  # every process has closed the other end
                return
            if not chunk:
                return
            self._text.append(chunk.decode(errors="replace"))

    @property
    def members(self) -> list[Member]:
        """The services, with their ports."""
        port, metrics_port = map(int, self.ports)
        return fleet(port=port, metrics_port=metrics_port)

    @property
    def shown(self) -> str:
        return "".join(self._text)

    @property
    def plain(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", self.shown)

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def wait_for(self, text: str, *, count: int = 1) -> None:
        def is_shown() -> bool:
            assert self.process.poll() is None, self.plain
            return self.plain.count(text) >= count

        wait_until(is_shown, timeout_s=START_S, what=lambda: f"{text!r} in\n{self.plain}")

    def tour(self) -> subprocess.CompletedProcess[str]:
        return self.tool("tour")

    def tool(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command, which reads the ports from a file."""
        command = [sys.executable, "-m", f"tools.{name}", "--directory", str(self.directory)]
        return subprocess.run(
            [*command, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )

    def close(self) -> None:
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            for process in [*self.children(), psutil.Process(self.process.pid)]:
                process.kill()
            self.process.wait(10)
        self._reading.join(10)
        os.close(self._terminal)


@contextmanager
def dev(directory: Path, *options: str) -> Iterator[Dev]:
    running = Dev(directory, options)
    try:
        yield running
    finally:
        running.close()
