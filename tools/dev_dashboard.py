"""The dashboard of `just dev`, a process of its own."""

import asyncio
import json
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .registry import ROOT, issuer, read
from .workspace import HOST, Member, owner

DEFAULT_PORT = 4318
_MAX_WAITING_BYTES = 8 * 1024 * 1024
_STOP_S = 5.0
_SIGN_UP = {"sign_up_path": "/api/users", "token_path": "/api/auth/token"}

Control = Callable[[str, str], None]


class PortTakenError(Exception):
    """The port that was chosen for the dashboard is in use."""


def listener(port: int | None) -> socket.socket:
    """Return a socket that listens on a port; without a choice, on the default port or else a free one.

    Raises:
        PortTakenError: The chosen port is in use.
    """
    with suppress(OSError):
        return socket.create_server((HOST, DEFAULT_PORT if port is None else port))
    if port is not None:
        raise PortTakenError(f"port {port}, needed by the dashboard, is taken by {owner(port)}")
    return socket.create_server((HOST, 0))


class Dashboard:
    """The process of the dashboard; it is notified of processes and lines, and returns commands.

    Args:
        listening: Socket that it serves; without one, no process is started and all is ignored.
        members: The services.
        control: Called with an action (`restart`, `start`, `stop`) and the name of a service.
    """

    def __init__(self, listening: socket.socket | None, members: list[Member], control: Control) -> None:
        self._listening = listening
        self.url = f"http://{HOST}:{listening.getsockname()[1]}" if listening else ""
        """URL without a path; empty if there is no dashboard."""
        self._members = members
        self._control = control
        self._process: Process | None = None

    async def start(self) -> None:
        """Start the process and send it the services."""
        if self._listening is None:
            return
        fd = self._listening.fileno()
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "starkeel_dashboard", "--supervised", "--fd", str(fd)),
            cwd=ROOT,
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=[fd],
            # So that a Ctrl-C on the terminal reaches only this process.
            start_new_session=True,
        )
        self._listening.close()
        for member in self._members:
            address = {"name": member.name, "url": member.url, "admin_url": member.metrics_url}
            self._send({"type": "service", "address": address})
        if (issuing := issuer(read())) is not None:
            self._send({"type": "sign_up", "service": issuing.name, **_SIGN_UP})

    async def follow(self) -> int | None:
        """Execute the commands of the dashboard until its process ends; return the exit code."""
        if self._process is None or self._process.stdout is None:
            return None
        async for line in self._process.stdout:
            with suppress(ValueError, KeyError):
                command = json.loads(line)
                self._control(command["action"], command["service"])
        return await self._process.wait()

    async def stop(self) -> None:
        """End the process."""
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_S)
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def variables(self) -> dict[str, str]:
        """Return the environment variables with which services send to it."""
        if not self.url:
            return {}
        # Spans appear while the user waits, not after five seconds.
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "500"}

    def started(self, service: str, pid: int) -> None:
        """Report that a process has started."""
        self._send({"type": "process", "service": service, "pid": pid})

    def ended(self, service: str, exit_code: int) -> None:
        """Report that a process has ended."""
        self._send({"type": "process", "service": service, "exit_code": exit_code})

    def wrote(self, service: str, line: str) -> None:
        """Report a line of a service."""
        self._send({"type": "log", "service": service, "line": line})

    def _send(self, message: dict[str, Any]) -> None:
        if self._process is None or self._process.stdin is None or self._process.stdin.is_closing():
            return
        # A dashboard that hangs must not take the memory of this process.
        if self._process.stdin.transport.get_write_buffer_size() < _MAX_WAITING_BYTES:
            self._process.stdin.write(f"{json.dumps(message)}\n".encode())
