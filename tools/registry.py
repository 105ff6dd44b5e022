"""The registry of services: `[tool.starkeel]` in each service's `pyproject.toml`."""

import keyword
import re
import tomllib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .slo import Slo

ROOT = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}").fullmatch

_TAKEN = {
    "deploy/compose.yaml": {
        "alertmanager", "broker", "collector", "databases", "grafana", "loki", "postgres", "prometheus",
        "proxy", "redis", "tempo",
    },
    "deploy/kubernetes": {"components", "fleet", "namespace", "overlays"},
}  # fmt: skip
"""Names that cannot be those of services, by the place where they have another meaning."""

Port = Annotated[int, Meta(ge=1024, le=65_535)]
PublicPath = Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9._~-]+)+$")]
Need = Literal["database", "redis", "signing key", "tokens", "worker", "broker"]
Scope = Annotated[str, Meta(pattern=r"^[!#-\[\]-~]+$", max_length=128)]
"""Name of a scope (RFC 6749, 3.3)."""


class RegistryError(Exception):
    """The registry is invalid; the message has the file, the field, the problem and the solution."""


class PanelQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A query of a panel.

    Attributes:
        expr: PromQL, with Grafana's `$service`, `$instance` and `$__rate_interval`.
        legend: Name of its series, with labels such as `{{result}}`.
    """

    expr: Annotated[str, Meta(min_length=1)]
    legend: Annotated[str, Meta(min_length=1)]


class BusinessPanel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A panel of a service's own metrics on the dashboard of the fleet.

    Attributes:
        title: Its heading.
        description: What it shows.
        queries: At most eight queries.
        unit: Grafana's name of the unit.
        kind: Lines, lines on top of one another, or the last value.
    """

    title: Annotated[str, Meta(min_length=1, max_length=60)]
    description: Annotated[str, Meta(min_length=21)]
    queries: Annotated[list[PanelQuery], Meta(min_length=1, max_length=8)]
    unit: str = "short"
    kind: Literal["lines", "stack", "number"] = "lines"


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Entry of a service.

    Attributes:
        port: Port in development, assigned once.
        admin_port: Admin port in development, assigned once.
        paths: Prefixes of the paths that the proxy forwards to it.
        needs: `database` and `redis` of its own, a `signing key` if it issues tokens, `tokens` if it verifies
            those of the service that does, a `worker` if separate processes execute its jobs, schedules and
            consumers, a `broker` if it publishes or consumes events.
        calls: Services that it calls.
        replicas: Containers that compose starts.
        max_replicas: Maximum number of containers behind the proxy.
        min_pods: Minimum number of pods in Kubernetes.
        max_pods: Maximum number of pods in Kubernetes, and one more during a rollout.
        worker_replicas: Containers of its worker that compose starts.
        min_worker_pods: Minimum number of pods of its worker in Kubernetes.
        max_worker_pods: Maximum number of pods of its worker, and one more during a rollout.
        connections: Connections to its database of one pod or container, also of its worker; an equal share
            without it.
        compose_environment: Further variables of its container.
        clients: Operations and fields of other services, for the clients of `just clients`.
        slo: Service level objectives.
        scopes: Scopes that its routes require; it owns them.
        panels: Panels of its own metrics.
        layers: Layers of its package, and of packages inside it, for import-linter: the highest first.
    """

    port: Port
    admin_port: Port
    paths: list[PublicPath] = []
    needs: list[Need] = []
    calls: list[str] = []
    replicas: Annotated[int, Meta(ge=1)] = 1
    max_replicas: Annotated[int, Meta(ge=1)] = 4
    min_pods: Annotated[int, Meta(ge=1, le=1000)] = 2
    max_pods: Annotated[int, Meta(ge=1, le=1000)] = 10
    worker_replicas: Annotated[int, Meta(ge=1)] = 1
    min_worker_pods: Annotated[int, Meta(ge=1, le=1000)] = 2
    max_worker_pods: Annotated[int, Meta(ge=1, le=1000)] = 4
    connections: Annotated[int, Meta(ge=2, le=10_000)] | None = None
    compose_environment: dict[str, str] = {}
    clients: dict[str, dict[str, Any]] = {}
    slo: Slo = Slo()
    scopes: list[Scope] = []
    panels: list[BusinessPanel] = []
    layers: dict[str, list[str]] = {}
    name: str = ""

    @property
    def file(self) -> str:
        """Path of the file with the entry."""
        return f"services/{self.name}/pyproject.toml"

    @property
    def host(self) -> str:
        """Name in Kubernetes, where an underscore is invalid."""
        return self.name.replace("_", "-")

    @property
    def has_worker(self) -> bool:
        """Whether processes without an application port execute its jobs, schedules and consumers."""
        return "worker" in self.needs

    @property
    def worker(self) -> str:
        """Name of its worker in compose."""
        return f"{self.name}-worker"

    @property
    def worker_host(self) -> str:
        """Name of its worker in Kubernetes."""
        return f"{self.host}-worker"


def read(root: Path = ROOT) -> list[Service]:
    """Return the services in the order of their ports.

    Raises:
        RegistryError: An entry is missing or invalid, or two contradict each other.
    """
    for folder in sorted(root.glob("services/*/")):
        if not (folder / "pyproject.toml").exists() and _has_files(folder):
            raise RegistryError(
                f"services/{folder.name}: has no pyproject.toml: restore it, or run"
                f" `.venv/bin/just remove-service {folder.name}`"
            )
    files = sorted(root.glob("services/*/pyproject.toml"))
    services = sorted((_entry(file, root) for file in files), key=lambda service: service.port)
    for problem in _contradictions(services):
        raise RegistryError(problem)
    return services


def _has_files(folder: Path) -> bool:
    return any(path.is_file() and "__pycache__" not in path.parts for path in folder.rglob("*"))


def issuer(services: Sequence[Service]) -> Service | None:
    """Return the service that issues tokens."""
    return next((service for service in services if "signing key" in service.needs), None)


def scopes(services: Sequence[Service]) -> list[str]:
    """Return the scopes of all services, sorted."""
    return sorted(scope for service in services for scope in service.scopes)


def upstreams(service: Service, services: Sequence[Service]) -> list[str]:
    """Return the names of the services that a service sends requests to."""
    issuing = issuer(services)
    needed = [issuing.name] if "tokens" in service.needs and issuing is not None else []
    return sorted({*service.calls, *needed} - {service.name})


def urls(service: Service, addresses: dict[str, str], services: Sequence[Service]) -> dict[str, str]:
    """Return the variables with the URLs of a service's upstreams.

    Args:
        service: The service.
        addresses: URL of each service, by name.
        services: All services.
    """
    issuing = issuer(services)
    variables: dict[str, str] = {}
    if "tokens" in service.needs and issuing is not None:
        variables["JWT_JWKS_URL"] = f"{addresses[issuing.name]}/.well-known/jwks.json"
        variables["JWT_REVOCATIONS_URL"] = f"{addresses[issuing.name]}/.well-known/revocations"
    return variables | {f"{name.upper()}_URL": addresses[name] for name in service.calls}


def _entry(file: Path, root: Path) -> Service:
    name, shown = file.parent.name, file.relative_to(root)
    if not _NAME(name) or keyword.iskeyword(name):
        raise RegistryError(
            f"{shown.parent}: {name!r} cannot name a service: use up to 31 lower-case letters, digits and `_`"
        )
    for place, names in _TAKEN.items():
        if name in names:
            raise RegistryError(f"{shown.parent}: {name!r} is not a service in {place}: choose another name")
    try:
        project = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RegistryError(f"{shown}: is not valid TOML: {error}") from error
    given = project.get("tool", {}).get("starkeel")
    if given is None:
        raise RegistryError(
            f"{shown}: has no [tool.starkeel]: add `port` and `admin_port`, see docs/fleet.md"
        )
    try:
        return msgspec.convert({**given, "name": name}, Service)
    except msgspec.ValidationError as error:
        raise RegistryError(f"{shown}: [tool.starkeel]: {error}; fields: docs/fleet.md") from error


def _contradictions(services: list[Service]) -> Iterator[str]:
    ports: dict[int, str] = {}
    taken = {port for service in services for port in (service.port, service.admin_port)}
    paths: dict[str, str] = {}
    owners: dict[str, str] = {}
    for service in services:
        file = f"services/{service.name}/pyproject.toml: [tool.starkeel]"
        for port in (service.port, service.admin_port):
            if port in ports:
                free = next(other for other in range(port + 1, port + 2 + len(taken)) if other not in taken)
                yield f"{file}: port {port} is that of {ports[port]}: choose {free} or another one"
            ports[port] = service.name
        for path, other in ((path, other) for path in service.paths for other in paths):
            if f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/"):
                yield f"{file}: paths: {path} overlaps with {other} of {paths[other]}: choose another prefix"
        paths |= dict.fromkeys(service.paths, service.name)
        for scope in service.scopes:
            if scope in owners:
                yield f"{file}: scopes: {scope!r} is that of {owners[scope]}: choose another name"
            owners[scope] = service.name
        for problem in chain(
            _unmet(service, services), _impossible(service), _impossible_worker(service, services)
        ):
            yield f"{file}: {problem}"
    issuing = [service.name for service in services if "signing key" in service.needs]
    if len(issuing) > 1:
        yield f"needs: several services have a `signing key`: {', '.join(issuing)}; only one can issue tokens"


def _impossible(service: Service) -> Iterator[str]:
    if service.min_pods > service.max_pods:
        yield f"min_pods: {service.min_pods} is more than max_pods ({service.max_pods}): lower it"
    if service.connections is not None and "database" not in service.needs:
        yield "connections: the service has no database: add `database` to `needs`, or remove the field"
    if "DB_MAX_CONNECTIONS" in service.compose_environment:
        yield "compose_environment: DB_MAX_CONNECTIONS follows from the budget: set `connections` instead"
    for package in service.layers:
        if package.partition(".")[0] != service.name:
            yield f"layers: {package!r} is not {service.name!r} or a package inside it"


def _impossible_worker(service: Service, services: list[Service]) -> Iterator[str]:
    for other in services:
        if other.has_worker and other.worker_host == service.host:
            yield f"{service.host!r} is the name of the worker of {other.name}: rename one of the services"
    least, most = service.min_worker_pods, service.max_worker_pods
    if least > most:
        yield f"min_worker_pods: {least} is more than max_worker_pods ({most}): lower it"
    defaults = Service(port=service.port, admin_port=service.admin_port)
    for field in ("worker_replicas", "min_worker_pods", "max_worker_pods"):
        if not service.has_worker and getattr(service, field) != getattr(defaults, field):
            yield f"{field}: the service has no worker: add `worker` to `needs`, or remove the field"
    if service.has_worker and "RUN_WORKER" in service.compose_environment:
        yield "compose_environment: RUN_WORKER follows from `worker` in `needs`: remove one of them"
    for need in ("worker", "broker"):
        if need in service.needs and "database" not in service.needs:
            yield f"needs: a `{need}` keeps jobs and events in the service's database: add `database`"


def _unmet(service: Service, services: list[Service]) -> Iterator[str]:
    names = sorted(each.name for each in services)
    for name in service.calls:
        if name not in names:
            yield f"calls: there is no service {name!r}; services: {', '.join(names)}"
    for name in sorted(service.clients.keys() - set(service.calls)):
        yield f"clients: {name!r} is not in `calls`: add it there, or remove [tool.starkeel.clients.{name}]"
    if service.name in service.calls:
        yield "calls: a service cannot call itself"
    if "tokens" in service.needs and issuer(services) is None:
        yield "needs: no service has a `signing key` to issue tokens with"
    if service.scopes and not {"tokens", "signing key"} & set(service.needs):
        yield "scopes: the service verifies no tokens: add `tokens` to `needs`, or remove `scopes`"
    yield from service.slo.problems()
