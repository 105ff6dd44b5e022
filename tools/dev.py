"""Run every service of the workspace in one terminal, and restart a service when its code changes.

Ctrl-C stops all services as in production; another one, a second later or more, immediately.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from watchfiles import PythonFilter, awatch

from .dev_dashboard import DEFAULT_PORT, Dashboard, PortTakenError, listener
from .dev_runner import Runner, Terminal
from .dev_servers import Variables, running_servers
from .registry import ROOT, RegistryError
from .workspace import HOST, Member, environment, free_ports, parse, recorded, taken_ports

_READY_POLL_S = 0.1
_OPTIONAL_CHECKS_TIMEOUT_S = 5.0


async def _reload(runners: list[Runner], terminal: Terminal) -> None:
    folders = [*ROOT.glob("packages/*/src"), *ROOT.glob("services/*/src")]
    async for changes in awatch(*folders, watch_filter=PythonFilter()):
        paths = [Path(path).relative_to(ROOT) for _, path in changes]
        # No service imports the dashboard.
        is_shared = any(path.parts[0] == "packages" and path.parts[1] != "dashboard" for path in paths)
        changed = {path.parts[1] for path in paths if path.parts[0] == "services"}
        for runner in runners:
            if is_shared or runner.member.name in changed:
                terminal.write_line(runner.member.name, f"restarting: {_listed(paths)} changed")
                runner.restart()


def _listed(paths: list[Path]) -> str:
    """Return the first of some paths, and the number of the others."""
    first, *others = sorted(map(str, paths))
    return f"{first} and {len(others)} more" if others else first


async def _welcome(members: list[Member], terminal: Terminal, servers: Variables, dashboard: str) -> None:
    await _wait_until_ready(members)
    # A service that started before its upstream reports it as unavailable until its next check.
    with suppress(TimeoutError):
        async with asyncio.timeout(_OPTIONAL_CHECKS_TIMEOUT_S):
            await _wait_until_ready(members, all_checks=True)
    terminal.write(_summary(members, servers, dashboard))


def _summary(members: list[Member], servers: Variables, dashboard: str) -> str:
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
    pages = [f"  dashboard  {dashboard}/", ""] if dashboard else []
    commands = [
        "  uv run just tour     try the API, step by step",
        "  uv run just traces   the slowest and failed requests",
        "  uv run just logs     the log lines of all services (--level error --follow)",
        "  uv run just status   the state of all services",
        "  uv run just          all commands",
        "  Ctrl-C               stop everything",
    ]
    return "\n".join(["", "  ready; code changes restart a service", "", *rows, "", *pages, *commands, ""])


async def _wait_until_ready(members: list[Member], *, all_checks: bool = False) -> None:
    """Wait until all services are ready; with `all_checks`, until their non-critical checks pass, too."""
    for member in members:
        while not await asyncio.to_thread(_is_ready, member, all_checks=all_checks):  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(_READY_POLL_S)


def _is_ready(member: Member, *, all_checks: bool) -> bool:
    try:
        with urlopen(f"{member.url}/health/ready", timeout=1) as response:
            checks = json.load(response)["checks"]
    except (OSError, HTTPException):
        # A connection to a port that nothing listens on yet may reach itself, and receive its request.
        return False
    return not all_checks or all(check["status"] == "ok" for check in checks.values())


async def _run(members: list[Member], servers: Variables, listening: socket.socket | None) -> None:
    for member in members:
        member.log.parent.mkdir(parents=True, exist_ok=True)
    terminal = Terminal(members)

    def control(action: str, name: str) -> None:
        for runner in runners:
            if runner.member.name == name:
                terminal.write_line(name, f"{action}: requested in the dashboard")
                runner.halt() if action == "stop" else runner.restart()

    dashboard = Dashboard(listening, members, control)
    runners = _runners(members, servers, terminal, dashboard)

    def stop() -> None:
        for runner in runners:
            runner.stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await dashboard.start()
    async with asyncio.TaskGroup() as tasks:
        background = [
            tasks.create_task(_reload(runners, terminal)),
            tasks.create_task(_welcome(members, terminal, servers, dashboard.url)),
            tasks.create_task(_follow(dashboard, terminal)),
        ]
        async with asyncio.TaskGroup() as services:
            for runner in runners:
                services.create_task(runner.run())
        for task in background:
            task.cancel()
    # After the services, whose last spans it receives.
    await dashboard.stop()


def _runners(
    members: list[Member], servers: Variables, terminal: Terminal, dashboard: Dashboard
) -> list[Runner]:
    # JSON for the dashboard, which the runners write to the terminal as text.
    defaults = {"LOG_FORMAT": "json"} | dashboard.variables()
    return [
        Runner(
            member,
            environment(member, members, defaults | os.environ | servers[member.name]),
            terminal,
            dashboard,
            is_rendered="LOG_FORMAT" not in os.environ,
        )
        for member in members
    ]


async def _follow(dashboard: Dashboard, terminal: Terminal) -> None:
    code = await dashboard.follow()
    if code is not None:
        terminal.write(f"the dashboard exited with {code}; the services continue without it")


def main() -> int:
    """Run the services; return the exit code."""
    parser = argparse.ArgumentParser(prog="just dev", description=__doc__)
    parser.add_argument(
        "--postgres", action="store_true", help="run a PostgreSQL for the services; its data ends with it"
    )
    parser.add_argument("--redis", action="store_true", help="run a Redis for rate limits and events")
    parser.add_argument(
        "--dashboard", type=int, metavar="PORT", help=f"port of the dashboard ({DEFAULT_PORT}, or a free one)"
    )
    parser.add_argument("--no-dashboard", action="store_true", help="run the services without the dashboard")
    try:
        given, members = parse(parser, follows=False)
    except RegistryError as error:
        sys.stderr.write(f"{error}\n")
        return os.EX_CONFIG
    if problems := taken_ports(members):
        port, metrics_port = free_ports(members)
        advice = f"stop it, or choose other ports: uv run just dev {port} {metrics_port}\n"
        sys.stderr.write("\n".join([*problems, advice]))
        return 71
    try:
        listening = None if given.no_dashboard else listener(given.dashboard)
    except PortTakenError as error:
        sys.stderr.write(f"{error}\nchoose another port: uv run just dev --dashboard 4319\n")
        return 71
    url = f"http://{HOST}:{listening.getsockname()[1]}" if listening else ""
    with (
        recorded(members, url),
        running_servers(members, postgres=given.postgres, redis=given.redis) as servers,
    ):
        asyncio.run(_run(members, servers, listening))
    return 0


if __name__ == "__main__":
    sys.exit(main())
