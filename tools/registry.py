"""The registry of services: `[tool.starkeel]` in each service's `pyproject.toml`."""

import keyword
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

ROOT = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}").fullmatch

Port = Annotated[int, Meta(ge=1024, le=65_535)]
PublicPath = Annotated[str, Meta(pattern=r"^(/[A-Za-z0-9._~-]+)+$")]
Need = Literal["database", "redis", "signing key", "tokens"]


class RegistryError(Exception):
    """The registry is invalid; the message has the file, the field, the problem and the solution."""


class Service(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Entry of a service.

    Attributes:
        port: Port in development, assigned once.
        admin_port: Admin port in development, assigned once.
        paths: Prefixes of the paths that the proxy forwards to it.
        needs: `database` and `redis` of its own, a `signing key` if it issues tokens, `tokens` if it verifies
            those of the service that does.
        calls: Services that it calls.
        replicas: Containers that compose starts.
        max_replicas: Maximum number of containers behind the proxy.
        compose_environment: Further variables of its container.
        clients: Operations and fields of other services, for the clients of `just clients`.
    """

    port: Port
    admin_port: Port
    paths: list[PublicPath] = []
    needs: list[Need] = []
    calls: list[str] = []
    replicas: Annotated[int, Meta(ge=1)] = 1
    max_replicas: Annotated[int, Meta(ge=1)] = 4
    compose_environment: dict[str, str] = {}
    clients: dict[str, dict[str, Any]] = {}
    name: str = ""


def read(root: Path = ROOT) -> list[Service]:
    """Return the services in the order of their ports.

    Raises:
        RegistryError: An entry is missing or invalid, or two contradict each other.
    """
    files = sorted(root.glob("services/*/pyproject.toml"))
    services = sorted((_entry(file, root) for file in files), key=lambda service: service.port)
    for problem in _contradictions(services):
        raise RegistryError(problem)
    return services


def issuer(services: Sequence[Service]) -> Service | None:
    """Return the service that issues tokens."""
    return next((service for service in services if "signing key" in service.needs), None)


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
        raise RegistryError(f"{shown}: [tool.starkeel]: {error}") from error


def _contradictions(services: list[Service]) -> Iterator[str]:
    ports: dict[int, str] = {}
    paths: dict[str, str] = {}
    for service in services:
        file = f"services/{service.name}/pyproject.toml: [tool.starkeel]"
        for port in (service.port, service.admin_port):
            if port in ports:
                yield f"{file}: port {port} is that of {ports[port]}: choose {max(ports) + 1} or another one"
            ports[port] = service.name
        for path, other in ((path, other) for path in service.paths for other in paths):
            if f"{path}/".startswith(f"{other}/") or f"{other}/".startswith(f"{path}/"):
                yield f"{file}: paths: {path} overlaps with {other} of {paths[other]}: choose another prefix"
        paths |= dict.fromkeys(service.paths, service.name)
        for problem in _unmet(service, services):
            yield f"{file}: {problem}"
    issuing = [service.name for service in services if "signing key" in service.needs]
    if len(issuing) > 1:
        yield f"needs: several services have a `signing key`: {', '.join(issuing)}; only one can issue tokens"


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
