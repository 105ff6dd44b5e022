"""Run every service of the workspace in one terminal, and again whenever its code changes.

Ctrl-C stops all of them as production would, a second one at once; nothing is left running.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from watchfiles import PythonFilter, awatch

from .tour import script
from .workspace import ROOT, Member, arguments, environment, fleet, taken

_COLOURS = (36, 35, 33, 32, 34, 31)
_READY_POLL_S = 0.1
_COMPLETE_WITHIN_S = 5.0
_LONGEST_LINE = 1024 * 1024


class Terminal:
    """Where the lines of all services go, each with its service's name before it."""

    def __init__(self, members: list[Member]) -> None:
        self._width = max(len(member.name) for member in members)
        is_colourful = sys.stdout.isatty() or "FORCE_COLOR" in os.environ
        self.is_colourful = is_colourful and "NO_COLOR" not in os.environ
        self._colours = {m.name: _COLOURS[i % len(_COLOURS)] for i, m in enumerate(members)}

    def line(self, name: str, text: str) -> None:
        """Write one line of a service's."""
        prefix = f"{name:<{self._width}} │"
        if self.is_colourful:
            prefix = f"\x1b[{self._colours[name]}m{prefix}\x1b[0m"
        self.say(f"{prefix} {text}")

    def say(self, text: str) -> None:
        """Write one line of our own."""
        # The terminal may have gone away; stopping the services matters more.
        with suppress(OSError):
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()


class Runner:
    """One service: its process, started again on demand."""

    def __init__(self, member: Member, env: dict[str, str], terminal: Terminal) -> None:
        self.member = member
        self._env = env | ({"FORCE_COLOR": "1"} if terminal.is_colourful else {})
        self._terminal = terminal
        self._process: Process | None = None
        self._restarts = asyncio.Event()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Run it until it is stopped; one that ends by itself waits for a change of its code."""
        self.member.log.write_bytes(b"")
        while not self._stopped.is_set():
            self._restarts.clear()
            # A session of its own: a Ctrl-C on the terminal is ours to hand on.
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self.member.name),
                env=self._env,
                cwd=self.member.directory,
                limit=_LONGEST_LINE,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
                start_new_session=True,
            )
            await self._show(self._process)
            code = await self._process.wait()
            self._process = None
            if not self._restarts.is_set():
                self._terminal.line(self.member.name, f"ended with exit code {code}; waiting for a change")
                await self._restarts.wait()

    async def _show(self, process: Process) -> None:
        if process.stdout is None:
            return
        with self.member.log.open("ab", buffering=0) as log:
            async for line in _lines(process.stdout):
                log.write(line)
                self._terminal.line(self.member.name, line.decode(errors="replace").rstrip("\n"))

    def restart(self) -> None:
        """Stop the process, if one runs, and start it again."""
        self._restarts.set()
        self.signal(signal.SIGTERM)

    def stop(self) -> None:
        """Stop for good; asked a second time, at once."""
        self._stopped.set()
        self._restarts.set()
        self.signal(signal.SIGINT)

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal, if one runs."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # longer than anybody reads: dropped by the reader
        if not line:
            return
        yield line


async def _reload(runners: list[Runner]) -> None:
    folders = [*ROOT.glob("packages/*/src"), *ROOT.glob("services/*/src")]
    async for changes in awatch(*folders, watch_filter=PythonFilter()):
        paths = [Path(path).relative_to(ROOT) for _, path in changes]
        is_shared = any(path.parts[0] == "packages" for path in paths)
        touched = {path.parts[1] for path in paths}
        for runner in runners:
            if is_shared or runner.member.name in touched:
                runner.restart()


async def _welcome(members: list[Member], terminal: Terminal) -> None:
    for member in members:
        while not await asyncio.to_thread(_is_ready, member):  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(_READY_POLL_S)
    # A service that was there before what it asks has not found that yet, and does without so far.
    with suppress(TimeoutError):
        async with asyncio.timeout(_COMPLETE_WITHIN_S):
            for member in members:
                while not await asyncio.to_thread(_is_ready, member, wholly=True):  # noqa: ASYNC110 - as above
                    await asyncio.sleep(_READY_POLL_S)
    terminal.say("")
    for member in members:
        terminal.say(f"  {member.name:<10} {member.url}/schema    {member.metrics_url}/metrics")
    terminal.say("\n  The tour, to paste into another terminal (or: uv run just tour):\n")
    terminal.say(script(members))


def _is_ready(member: Member, *, wholly: bool = False) -> bool:
    """Whether a service serves; wholly when it lacks nothing for that."""
    try:
        with urlopen(f"{member.url}/health/ready", timeout=1) as answer:
            checks = json.load(answer)["checks"]
    except OSError:
        return False
    return not wholly or all(check["status"] == "ok" for check in checks.values())


async def _run(members: list[Member]) -> None:
    for member in members:
        member.log.parent.mkdir(parents=True, exist_ok=True)
    terminal = Terminal(members)
    runners = [Runner(member, environment(member, members, os.environ), terminal) for member in members]

    def stop() -> None:
        for runner in runners:
            runner.stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    async with asyncio.TaskGroup() as tasks:
        watching = [tasks.create_task(_reload(runners)), tasks.create_task(_welcome(members, terminal))]
        async with asyncio.TaskGroup() as services:
            for runner in runners:
                services.create_task(runner.run())
        for task in watching:
            task.cancel()


def main() -> int:
    """Run the services; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    arguments(parser)
    given = parser.parse_args()
    members = fleet(port=given.port, metrics_port=given.metrics_port, directory=given.directory)
    if problems := taken(members):
        for problem in problems:
            sys.stderr.write(f"{problem}\n")
        sys.stderr.write("stop it, or choose other first ports: uv run just dev 4000 9190\n")
        return 71
    asyncio.run(_run(members))
    return 0


if __name__ == "__main__":
    sys.exit(main())
