"""Services with their addresses, processes and last responses."""

from collections.abc import Iterator
from typing import Any, Literal

import msgspec

Action = Literal["restart", "stop", "start"]


class Check(msgspec.Struct, frozen=True):
    """A readiness check."""

    status: str = "unknown"
    duration_ms: float = 0.0
    critical: bool = True


class Setting(msgspec.Struct, frozen=True):
    """An effective setting."""

    variable: str
    value: str = ""
    source: str = ""


class Worker(msgspec.Struct, frozen=True):
    """A worker process."""

    index: int
    status: str = "unknown"


class Migrations(msgspec.Struct, frozen=True):
    """Revisions of a database."""

    current: str | None = None
    newest: str | None = None
    pending: list[Any] = []
    is_newer_than_code: bool = False


class Info(msgspec.Struct, frozen=True):
    """Version and start of the running process."""

    version: str = ""
    revision: str = ""
    environment: str = ""
    started_at: str = ""
    python: str = ""


class Route(msgspec.Struct, frozen=True):
    """A route of the application."""

    path: str
    methods: list[str] = []
    handler: str = ""


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """Name and URLs of a service."""

    name: str
    url: str
    """URL of the application."""
    admin_url: str = ""
    """URL of the admin port; empty if there is none."""
    openapi_path: str = "/schema/openapi.json"
    readiness_path: str = "/health/ready"


class Service(msgspec.Struct):
    """A service and its last responses."""

    address: Address
    is_controlled: bool = False
    """Whether its process can be restarted and stopped from here."""
    pid: int | None = None
    exit_code: int | None = None
    """Exit code of its process if it has ended."""
    readiness: str = "unknown"
    checks: dict[str, Check] = {}
    workers: list[Worker] = []
    info: Info = msgspec.field(default_factory=Info)
    settings: list[Setting] = []
    routes: list[Route] = []
    migrations: Migrations | None = None
    problem: str = ""
    """Why the last request failed; empty if it did not."""

    @property
    def name(self) -> str:
        """Return the name."""
        return self.address.name

    @property
    def state(self) -> str:
        """Return `ready`, `not ready`, `unreachable`, `stopped` or `starting`."""
        if self.exit_code is not None:
            return "stopped" if self.exit_code == 0 else f"exited with {self.exit_code}"
        return self.readiness


class Services:
    """All services, by name."""

    def __init__(self) -> None:
        self._services: dict[str, Service] = {}

    def add(self, address: Address, *, is_controlled: bool) -> None:
        """Add a service, or change its address."""
        service = self._services.setdefault(address.name, Service(address))
        service.address, service.is_controlled = address, is_controlled

    def get(self, name: str) -> Service | None:
        """Return a service; `None` if there is none with this name."""
        return self._services.get(name)

    def __iter__(self) -> Iterator[Service]:
        """Yield the services in the order in which they were added."""
        return iter(list(self._services.values()))
