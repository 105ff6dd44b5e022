"""A service of `just dev`: its process, and its output on the terminal."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from contextlib import suppress
from typing import Protocol

from starkeel_observability import pretty_line

from .workspace import Member

_COLOURS = (36, 35, 33, 32, 34, 31)
_MAX_LINE_BYTES = 1024 * 1024


class Watcher(Protocol):
    """Is notified of processes and of what they write."""

    def started(self, service: str, pid: int) -> None: ...

    def ended(self, service: str, exit_code: int) -> None: ...

    def wrote(self, service: str, line: str) -> None: ...


class Terminal:
    """Output of all services, each line with the name of its service."""

    def __init__(self, members: list[Member]) -> None:
        self._width = max(len(member.name) for member in members)
        is_colourful = sys.stdout.isatty() or "FORCE_COLOR" in os.environ
        self.is_colourful = is_colourful and "NO_COLOR" not in os.environ
        self._colours = {m.name: _COLOURS[i % len(_COLOURS)] for i, m in enumerate(members)}

    def write_line(self, name: str, text: str) -> None:
        """Write a line of a service."""
        prefix = f"{name:<{self._width}} │"
        if self.is_colourful:
            prefix = f"\x1b[{self._colours[name]}m{prefix}\x1b[0m"
        self.write(f"{prefix} {text}")

    def write(self, text: str) -> None:
        """Write text without a name."""
        # The terminal may be closed; stopping the services matters more.
        with suppress(OSError):
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()


class Runner:
    """The process of one service.

    Args:
        member: The service.
        env: Environment of the process.
        terminal: Where its lines are written.
        watcher: Is notified of the process and of its lines.
        is_rendered: Whether lines of JSON are written as text.
    """

    def __init__(
        self, member: Member, env: dict[str, str], terminal: Terminal, watcher: Watcher, *, is_rendered: bool
    ) -> None:
        self.member = member
        self._env = env | ({"FORCE_COLOR": "1"} if terminal.is_colourful else {})
        self._terminal = terminal
        self._watcher = watcher
        # The format that the user has chosen is shown unchanged.
        self._is_rendered = is_rendered
        self._process: Process | None = None
        self._restart_requested = asyncio.Event()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Run the service until `stop`; after it exits by itself, wait for a change of its code."""
        self.member.log.write_bytes(b"")
        while not self._stopped.is_set():
            self._restart_requested.clear()
            # A session of its own, so that a Ctrl-C on the terminal reaches only this process.
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self.member.name),
                env=self._env,
                cwd=self.member.directory,
                limit=_MAX_LINE_BYTES,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                start_new_session=True,
            )
            if self._restart_requested.is_set():
                # By `stop` or `restart`, while the process was created.
                self.signal(signal.SIGTERM)
            self._watcher.started(self.member.name, self._process.pid)
            assert self._process.stdout is not None
            await self._copy_output(self._process.stdout)
            code = await self._process.wait()
            self._process = None
            self._watcher.ended(self.member.name, code)
            if not self._restart_requested.is_set():
                self._terminal.write_line(self.member.name, f"exited with {code}; waiting for a change")
                await self._restart_requested.wait()

    async def _copy_output(self, output: asyncio.StreamReader) -> None:
        with self.member.log.open("ab", buffering=0) as log:
            while True:
                try:
                    line = await output.readline()
                except ValueError:
                    continue  # longer than the limit: discarded by the reader
                if not line:
                    return
                text = line.decode(errors="replace").rstrip("\n")
                self._watcher.wrote(self.member.name, text)
                shown = self._render(text)
                log.write(f"{shown}\n".encode())
                for each in shown.split("\n"):
                    self._terminal.write_line(self.member.name, each)

    def _render(self, text: str) -> str:
        """Return a line as text, if it is one that a service wrote as JSON by default."""
        if self._is_rendered and text.startswith("{"):
            with suppress(ValueError, KeyError, TypeError, AttributeError):
                rendered = pretty_line(json.loads(text), colours=self._terminal.is_colourful)
                return rendered.decode().rstrip("\n")
        return text

    def restart(self) -> None:
        """Stop the process, if there is one, and start it again."""
        self._restart_requested.set()
        self.signal(signal.SIGTERM)

    def halt(self) -> None:
        """Stop the process until `restart`."""
        self.signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stop the service; another call, a second later or more, stops it immediately."""
        self._stopped.set()
        self._restart_requested.set()
        self.signal(signal.SIGINT)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, if there is one."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
