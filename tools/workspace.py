"""Services of this workspace as `just dev` runs them: names, ports, environment."""

import json
import socket
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"


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
    parser.add_argument("port", type=int, nargs="?", help="port of the first service (3000)")
    parser.add_argument("metrics_port", type=int, nargs="?", help="its admin port (9090)")
    parser.add_argument("--directory", type=Path, default=ROOT, help="folder for databases and logs")
    given = parser.parse_args()
    usual = (_running_ports(given.directory) if follows else None) or (3000, 9090)
    given.port, given.metrics_port = given.port or usual[0], given.metrics_port or usual[1]
    return given, fleet(port=given.port, metrics_port=given.metrics_port, directory=given.directory)


@contextmanager
def recorded(members: list[Member]) -> Iterator[None]:
    """Record the ports for the commands that follow `just dev`, while the block runs."""
    first = members[0]
    file = _record(first.directory)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([psutil.Process().pid, first.port, first.metrics_port]))
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _record(directory: Path) -> Path:
    return directory / ".data" / "dev.json"


def _running_ports(directory: Path) -> tuple[int, int] | None:
    # Left behind by a killed process, or another one's by now.
    with suppress(OSError, ValueError):
        pid, port, metrics_port = json.loads(_record(directory).read_text("utf-8"))
        if psutil.pid_exists(pid):
            return port, metrics_port
    return None


def service_names() -> list[str]:
    """Return the names of all services, in alphabetical order."""
    return sorted(path.parent.name for path in ROOT.glob("services/*/pyproject.toml"))


def fleet(*, port: int = 3000, metrics_port: int = 9090, directory: Path = ROOT) -> list[Member]:
    """Return the services in alphabetical order, with consecutive ports.

    Args:
        port: Port of the first service.
        metrics_port: Its admin port.
        directory: Working directory; databases and logs are in `.data` below it.
    """
    return [Member(name, port + n, metrics_port + n, directory) for n, name in enumerate(service_names())]


def environment(member: Member, members: list[Member], given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service; a given variable overrides what connects the services."""
    urls = {other.name: other.url for other in members}
    links = {f"{name.upper()}_URL": url for name, url in urls.items() if name != member.name}
    if "accounts" in urls:
        links["JWT_ISSUER"] = urls["accounts"]
        links["JWT_JWKS_URL"] = f"{urls['accounts']}/.well-known/jwks.json"
        links["JWT_REVOCATIONS_URL"] = f"{urls['accounts']}/.well-known/revocations"
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
        f"port {port}, needed by {name}, is taken by {_owner(port)}"
        for name, port in needed
        if not _is_free(port)
    ]


def _is_free(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True


def _owner(port: int) -> str:
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            is_listening = connection.status == psutil.CONN_LISTEN
            if is_listening and connection.laddr and connection.laddr.port == port and connection.pid:
                command = " ".join(psutil.Process(connection.pid).cmdline())
                return f"process {connection.pid} ({command[:120]})"
    return "a process of another user"
