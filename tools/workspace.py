"""Services of this workspace as `just dev` runs them: names, ports, environment."""

import json
import socket
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from .registry import ROOT, issuer, read, urls

HOST = "127.0.0.1"
_HIGHEST_PORT = 65_000


@dataclass(frozen=True)
class Member:
    """A service and its addresses."""

    name: str
    port: int
    metrics_port: int
    directory: Path

    @property
    def url(self) -> str:
        """URL of the application."""
        return f"http://{HOST}:{self.port}"

    @property
    def metrics_url(self) -> str:
        """URL of the admin port."""
        return f"http://{HOST}:{self.metrics_port}"

    @property
    def log(self) -> Path:
        """File with the output since `just dev` was started."""
        return self.directory / ".data" / "logs" / f"{self.name}.log"


def parse(parser: ArgumentParser, *, follows: bool = True) -> tuple[Namespace, list[Member]]:
    """Parse the command line, with options for the services; return it and the services.

    Args:
        parser: Parser of the other options.
        follows: Whether the default ports are those of the `just dev` that runs in the directory.
    """
    parser.add_argument("port", type=_port, nargs="?", help="port of the first service (3000)")
    parser.add_argument(
        "metrics_port", type=_port, nargs="?", help="its admin port (9090, moved as far as the port)"
    )
    parser.add_argument("--directory", type=Path, default=ROOT, help="folder for databases and logs")
    given = parser.parse_args()
    running = running_ports(given.directory) if follows else None
    if running is not None and given.port in {None, running[0]}:
        given.port, given.metrics_port = running[0], given.metrics_port or running[1]
    if given.port is not None and given.metrics_port is None:
        first = read()[0]
        given.metrics_port = first.admin_port + given.port - first.port
        if not 1 <= given.metrics_port <= _HIGHEST_PORT:
            parser.error(
                f"port {given.port} leaves no admin ports: give the first one, too: {given.port} 9190"
            )
    return given, fleet(port=given.port, metrics_port=given.metrics_port, directory=given.directory)


def _port(text: str) -> int:
    # Room for the ports of the other services.
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _HIGHEST_PORT:
        raise ArgumentTypeError(f"invalid port: {text!r}; accepted: 1 to {_HIGHEST_PORT}")
    return int(text)


@contextmanager
def recorded(members: list[Member], dashboard: str) -> Iterator[None]:
    """Record the ports for the commands that follow `just dev`, while the block runs.

    Args:
        members: The services.
        dashboard: URL of the dashboard; empty if there is none.
    """
    first = members[0]
    file = _record(first.directory)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([psutil.Process().pid, first.port, first.metrics_port, dashboard]))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _record(directory: Path) -> Path:
    return directory / ".data" / "dev.json"


def running_ports(directory: Path) -> tuple[int, int] | None:
    """Return the first ports of the `just dev` that runs in a directory; `None` if there is none."""
    # Left behind by a killed process, or another one's by now.
    with suppress(OSError, ValueError):
        pid, port, metrics_port, *_ = json.loads(_record(directory).read_text("utf-8"))
        if psutil.pid_exists(pid):
            return port, metrics_port
    return None


def running_dashboard(directory: Path) -> str | None:
    """Return the URL of the dashboard of the `just dev` that runs in a directory; `None` if there is none."""
    if running_ports(directory) is None:
        return None
    with suppress(OSError, ValueError):
        *_, url = json.loads(_record(directory).read_text("utf-8"))
        return url if isinstance(url, str) and url else None
    return None


def service_names() -> list[str]:
    """Return the names of all services, in the order of their ports."""
    return [service.name for service in read()]


def fleet(
    *, port: int | None = None, metrics_port: int | None = None, directory: Path = ROOT
) -> list[Member]:
    """Return the services, with the ports of the registry.

    Args:
        port: Port of the first service instead; those of the others follow as in the registry.
        metrics_port: Its admin port instead.
        directory: Working directory; databases and logs are in `.data` below it.
    """
    services = read()
    offset = 0 if port is None else port - services[0].port
    admin_offset = 0 if metrics_port is None else metrics_port - services[0].admin_port
    return [
        Member(service.name, service.port + offset, service.admin_port + admin_offset, directory)
        for service in services
    ]


def environment(member: Member, members: list[Member], given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service; a given variable overrides what connects the services."""
    services = read()
    service = next(each for each in services if each.name == member.name)
    links = urls(service, {other.name: other.url for other in members}, services)
    if (issuing := issuer(services)) is not None:
        links["JWT_ISSUER"] = next(other.url for other in members if other.name == issuing.name)
    if "broker" in service.needs:
        links["BROKER_URL"] = "sqlite:///.data/broker.db"
    own = {"HOST": HOST, "PORT": str(member.port)}
    own |= {"METRICS_HOST": HOST, "METRICS_PORT": str(member.metrics_port)}
    return {"ENVIRONMENT": "development", "LOG_FORMAT": "pretty"} | links | dict(given) | own


def is_listening(member: Member) -> bool:
    """Return whether something accepts connections at the service's port."""
    try:
        socket.create_connection((HOST, member.port), timeout=5).close()
    except OSError:
        return False
    return True


def taken_ports(members: list[Member]) -> list[str]:
    """Return a message for each port that is in use, with the process that has it."""
    needed = [(member.name, port) for member in members for port in (member.port, member.metrics_port)]
    return [
        f"port {port}, needed by {name}, is taken by {owner(port)}"
        for name, port in needed
        if not _is_free(port)
    ]


def free_ports(members: list[Member]) -> tuple[int, int]:
    """Return ports for `just dev` with which no service needs one that is in use."""
    first = members[0]
    for distance in range(100, _HIGHEST_PORT - max(first.port, first.metrics_port), 100):
        moved = [port + distance for member in members for port in (member.port, member.metrics_port)]
        if all(map(_is_free, moved)):
            return first.port + distance, first.metrics_port + distance
    return 4100, 9290


def _is_free(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True


def owner(port: int) -> str:
    """Return a description of the process that listens on a port."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            is_listening = connection.status == psutil.CONN_LISTEN
            if is_listening and connection.laddr and connection.laddr.port == port and connection.pid:
                return _description(psutil.Process(connection.pid))
    return "a process of another user"


def _description(process: psutil.Process) -> str:
    """Return the process that a user stops to free a port of this one: `just dev`, or the main process."""
    parents = process.parents()
    for parent in parents:
        if parent.cmdline()[1:3] == ["-m", "tools.dev"]:
            return f"the `just dev` in {parent.cwd()}: press Ctrl-C there, or: kill -INT {parent.pid}"
    if parents and process.cmdline()[2:3] and process.cmdline()[2].endswith("._worker"):
        process = parents[0]
    command = " ".join(process.cmdline())
    return f"process {process.pid} ({command[:120]})"
