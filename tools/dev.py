"""Run every service of the workspace in one terminal, and restart a service when its code changes.

Ctrl-C stops all services as in production; another one, a second later or more, immediately.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from watchfiles import PythonFilter, awatch

from .dev_servers import Variables, running_servers
from .registry import ROOT
from .workspace import Member, environment, parse, recorded, taken_ports

_COLOURS = (36, 35, 33, 32, 34, 31)
_READY_POLL_S = 0.1
_OPTIONAL_CHECKS_TIMEOUT_S = 5.0
_MAX_LINE_BYTES = 1024 * 1024


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
    """The process of one service."""

    def __init__(self, member: Member, env: dict[str, str], terminal: Terminal) -> None:
        self.member = member
        self._env = env | ({"FORCE_COLOR": "1"} if terminal.is_colourful else {})
        self._terminal = terminal
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
            assert self._process.stdout is not None
            await self._copy_output(self._process.stdout)
            code = await self._process.wait()
            self._process = None
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
                log.write(line)
                self._terminal.write_line(self.member.name, line.decode(errors="replace").rstrip("\n"))

    def restart(self) -> None:
        """Stop the process, if there is one, and start it again."""
        self._restart_requested.set()
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


async def _reload(runners: list[Runner], terminal: Terminal) -> None:
    folders = [*ROOT.glob("packages/*/src"), *ROOT.glob("services/*/src")]
    async for changes in awatch(*folders, watch_filter=PythonFilter()):
        paths = [Path(path).relative_to(ROOT) for _, path in changes]
        is_shared = any(path.parts[0] == "packages" for path in paths)
        changed = {path.parts[1] for path in paths}
        for runner in runners:
            if is_shared or runner.member.name in changed:
                terminal.write_line(runner.member.name, f"restarting: {_listed(paths)} changed")
                runner.restart()


def _listed(paths: list[Path]) -> str:
    """Return the first of some paths, and the number of the others."""
    first, *others = sorted(map(str, paths))
    return f"{first} and {len(others)} more" if others else first


async def _welcome(members: list[Member], terminal: Terminal, servers: Variables) -> None:
    await _wait_until_ready(members)
    # A service that started before its upstream reports it as unavailable until its next check.
    with suppress(TimeoutError):
        async with asyncio.timeout(_OPTIONAL_CHECKS_TIMEOUT_S):
            await _wait_until_ready(members, all_checks=True)
    terminal.write(_summary(members, servers))


def _summary(members: list[Member], servers: Variables) -> str:
    """Return what is most needed once all services are ready."""
    width = max(len(member.name) for member in members)
    rows = [
        f"  {member.name:<{width}}  {member.url}  API {member.url}/schema  admin {member.metrics_url}/"
        for member in members
    ]
    rows += [
        f"  {name:<{width}}  {variable}={value}"
        for name, own in servers.items()
        for variable, value in own.items()
    ]
    commands = [
        "  uv run just tour     try the API, step by step",
        "  uv run just traces   the slowest and failed requests of the last minute",
        "  uv run just          all commands",
        "  Ctrl-C               stop everything",
    ]
    return "\n".join(["", "  ready; code changes restart a service", "", *rows, "", *commands, ""])


async def _wait_until_ready(members: list[Member], *, all_checks: bool = False) -> None:
    """Wait until all services are ready; with `all_checks`, until their non-critical checks pass, too."""
    for member in members:
        while not await asyncio.to_thread(_is_ready, member, all_checks=all_checks):  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(_READY_POLL_S)


def _is_ready(member: Member, *, all_checks: bool) -> bool:
    try:
        with urlopen(f"{member.url}/health/ready", timeout=1) as response:
            checks = json.load(response)["checks"]
    except OSError:
        return False
    return not all_checks or all(check["status"] == "ok" for check in checks.values())


async def _run(members: list[Member], servers: Variables) -> None:
    for member in members:
        member.log.parent.mkdir(parents=True, exist_ok=True)
    terminal = Terminal(members)
    runners = [
        Runner(member, environment(member, members, os.environ | servers[member.name]), terminal)
        for member in members
    ]

    def stop() -> None:
        for runner in runners:
            runner.stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    async with asyncio.TaskGroup() as tasks:
        background = [
            tasks.create_task(_reload(runners, terminal)),
            tasks.create_task(_welcome(members, terminal, servers)),
        ]
        async with asyncio.TaskGroup() as services:
            for runner in runners:
                services.create_task(runner.run())
        for task in background:
            task.cancel()


def main() -> int:
    """Run the services; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--postgres", action="store_true", help="run a PostgreSQL for the services; its data ends with it"
    )
    parser.add_argument("--redis", action="store_true", help="run a Redis for rate limits and events")
    given, members = parse(parser, follows=False)
    if problems := taken_ports(members):
        advice = "stop that process, or choose other ports: uv run just dev 4100 9290\n"
        sys.stderr.write("\n".join([*problems, advice]))
        return 71
    with (
        recorded(members),
        running_servers(members, postgres=given.postgres, redis=given.redis) as servers,
    ):
        asyncio.run(_run(members, servers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
