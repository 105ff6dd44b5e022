"""The services of this workspace as `just dev` runs them: names, ports, environment."""

import socket
from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Member:
    """One service and where it listens."""

    name: str
    port: int
    metrics_port: int
    directory: Path

    @property
    def url(self) -> str:
        """Where the application answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def metrics_url(self) -> str:
        """Where the admin port answers."""
        return f"http://{HOST}:{self.metrics_port}"

    @property
    def log(self) -> Path:
        """What it said since `just dev` was started."""
        return self.directory / ".data" / "logs" / f"{self.name}.log"


def arguments(parser: ArgumentParser) -> None:
    """Let a command be told where the services are; `fleet` takes what comes of it."""
    parser.add_argument("port", type=int, nargs="?", default=3000, help="port of the first service (3000)")
    parser.add_argument("metrics_port", type=int, nargs="?", default=9090, help="its admin port (9090)")
    parser.add_argument("--directory", type=Path, default=ROOT, help="where databases and logs are kept")


def fleet(*, port: int = 3000, metrics_port: int = 9090, directory: Path = ROOT) -> list[Member]:
    """List the services in alphabetical order, each with the next ports.

    Args:
        port: The first service's; the next has the next.
        metrics_port: Likewise.
        directory: Where they run; their databases and logs are below its `.data`.
    """
    names = sorted(path.parent.name for path in ROOT.glob("services/*/pyproject.toml"))
    return [Member(name, port + n, metrics_port + n, directory) for n, name in enumerate(names)]


def environment(member: Member, members: list[Member], given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of one service: what was given wins over what makes the fleet work together."""
    urls = {other.name: other.url for other in members}
    together = {f"{name.upper()}_URL": url for name, url in urls.items() if name != member.name}
    if "accounts" in urls:
        together["JWT_ISSUER"] = urls["accounts"]
        together["JWT_JWKS_URL"] = f"{urls['accounts']}/.well-known/jwks.json"
    own = {"HOST": HOST, "PORT": str(member.port)}
    own |= {"METRICS_HOST": HOST, "METRICS_PORT": str(member.metrics_port)}
    return {"ENVIRONMENT": "development", "LOG_FORMAT": "pretty"} | together | dict(given) | own


def taken(members: list[Member]) -> list[str]:
    """Say for each port that is taken whose it is; nothing when all are free."""
    wanted = [(member.name, port) for member in members for port in (member.port, member.metrics_port)]
    return [
        f"port {port}, wanted by {name}, is taken by {_holder(port)}"
        for name, port in wanted
        if not _is_free(port)
    ]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _holder(port: int) -> str:
    try:
        listening = psutil.net_connections("tcp")
        pids = {
            c.pid for c in listening if c.laddr and c.laddr.port == port and c.status == psutil.CONN_LISTEN
        }
        pid = next(pid for pid in pids if pid is not None)
        return f"process {pid} ({' '.join(psutil.Process(pid).cmdline())[:120]})"
    except (psutil.Error, StopIteration):
        return "a process of another user"
