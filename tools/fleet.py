"""The services of this workspace as `just dev` runs them: names, ports, environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".data" / "logs"
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Member:
    """One service and where it listens."""

    name: str
    port: int
    metrics_port: int

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
        return LOGS / f"{self.name}.log"


def fleet(*, port: int, metrics_port: int) -> list[Member]:
    """List the services in alphabetical order, each with the next ports.

    Args:
        port: The first service's; the next has the next.
        metrics_port: Likewise.
    """
    names = sorted(path.parent.name for path in ROOT.glob("services/*/pyproject.toml"))
    return [Member(name, port + number, metrics_port + number) for number, name in enumerate(names)]


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
