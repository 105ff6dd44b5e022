"""The budget of connections: the services' shares of what PostgreSQL accepts.

A share is a limit for one pod or container (`DB_MAX_CONNECTIONS`), which its workers divide among them.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta
from starkeel_db import DatabaseSettings
from starkeel_server import ServerSettings

from ..registry import RegistryError, Service

_SURGE = 1
"""Instances above the maximum while one replaces another: `maxSurge` of a Deployment, or `just roll`."""
_LEAST = 2
"""Connections of a migration: one holds the lock, the other migrates. It runs before the service itself."""
_FIELDS: dict[str, tuple[type[msgspec.Struct], str]] = {
    "DB_MAX_CONNECTIONS": (DatabaseSettings, "max_connections"),
    "DB_MIN_CONNECTIONS": (DatabaseSettings, "min_connections"),
    "WORKERS": (ServerSettings, "workers"),
}


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[tool.starkeel.database]` in the workspace's `pyproject.toml`.

    Attributes:
        max_connections: Setting of PostgreSQL with this name.
        reserved_connections: Those of them that services may not open: `superuser_reserved_connections`, and
            some for backups, exporters and operators.
    """

    max_connections: Annotated[int, Meta(ge=1, le=262_143)] = 100
    reserved_connections: Annotated[int, Meta(ge=0, le=1000)] = 8

    @property
    def available(self) -> int:
        """Connections for services."""
        return self.max_connections - self.reserved_connections


class Claim(NamedTuple):
    """Connections that one service may open.

    Attributes:
        service: Its entry.
        instances: Pods or containers at most.
        variables: Effective values of `DB_MAX_CONNECTIONS`, `DB_MIN_CONNECTIONS` and `WORKERS`.
    """

    service: Service
    instances: int
    variables: Mapping[str, int]

    @property
    def connections(self) -> int:
        """Connections of one instance."""
        return self.variables["DB_MAX_CONNECTIONS"]

    @property
    def total(self) -> int:
        """Connections of all instances."""
        return self.instances * self.connections


def limits(root: Path) -> Limits:
    """Return the limits of the workspace.

    Raises:
        RegistryError: They are invalid.
    """
    file = root / "pyproject.toml"
    project = tomllib.loads(file.read_text("utf-8")) if file.exists() else {}
    try:
        found = msgspec.convert(project.get("tool", {}).get("starkeel", {}).get("database", {}), Limits)
    except msgspec.ValidationError as error:
        raise RegistryError(f"pyproject.toml: [tool.starkeel.database]: {error}") from error
    return found


def with_database(services: Sequence[Service]) -> list[Service]:
    """Return the services that have a database."""
    return [service for service in services if "database" in service.needs]


def pods(service: Service) -> int:
    """Return the maximum number of pods, those of the worker included, while one replaces another."""
    return service.max_pods + _SURGE + (service.max_worker_pods + _SURGE if service.has_worker else 0)


def containers(service: Service) -> int:
    """Return the number of containers of compose, also of the worker, while one replaces another."""
    return service.replicas + _SURGE + (service.worker_replicas + _SURGE if service.has_worker else 0)


def shares(
    services: Sequence[Service], given: Limits, instances: Callable[[Service], int] = pods
) -> dict[str, int]:
    """Return the connections of one instance of each service that has a database.

    Args:
        services: All services.
        given: The limits.
        instances: Number of instances of a service: `pods` or `containers`.

    Raises:
        RegistryError: There are too few for all.
    """
    found = with_database(services)
    fixed = {service.name: service.connections for service in found if service.connections is not None}
    rest = given.available - sum(instances(each) * fixed.get(each.name, 0) for each in found)
    others = sum(instances(each) for each in found if each.name not in fixed)
    share = min(default("DB_MAX_CONNECTIONS"), rest // others) if others else _LEAST
    if rest < 0 or share < _LEAST:
        parts = ", ".join(f"{each.name} {instances(each)}" for each in found)
        field = "max_pods" if instances is pods else "replicas"
        if any(each.has_worker for each in found):
            field += f"`, `{'max_worker_pods' if instances is pods else 'worker_replicas'}"
        raise RegistryError(
            f"pyproject.toml: [tool.starkeel.database]: {_described(given)} are too few for all instances"
            f" ({parts}) with at least {_LEAST} each: raise `max_connections` here and in PostgreSQL,"
            f" or lower `{field}` or `connections` in {_files(found)}"
        )
    return {service.name: fixed.get(service.name, share) for service in found}


def lowered(before: Sequence[Service], after: Sequence[Service], given: Limits) -> str | None:
    """Return which services a further one leaves with fewer connections, and what to do; `None` if none.

    Args:
        before: All services but the further one.
        after: All services.
        given: The limits.

    Raises:
        RegistryError: There are too few for all.
    """
    former, now = shares(before, given), shares(after, given)
    changes = [f"{name} {former[name]} -> {now[name]}" for name in former if now[name] < former[name]]
    if not changes:
        return None
    return (
        f"DB_MAX_CONNECTIONS of each pod is lower now: {', '.join(changes)}. {_described(given)} are divided"
        " among the pods of all services; for more, raise `max_connections` in [tool.starkeel.database] of"
        " pyproject.toml and in PostgreSQL, or lower `max_pods`, and run `just fleet`"
        " (docs/services.md#connections-to-postgresql)"
    )


def settings(share: int) -> dict[str, int]:
    """Return the variables for a number of connections; a minimum above the maximum is invalid."""
    minimum = min(default("DB_MIN_CONNECTIONS"), share // 2)
    return {"DB_MAX_CONNECTIONS": share, "DB_MIN_CONNECTIONS": minimum}


def default(variable: str) -> int:
    """Return the default of one of the variables that the budget depends on."""
    struct, name = _FIELDS[variable]
    return int(next(field.default for field in msgspec.structs.fields(struct) if field.name == name))


def claims(
    services: Sequence[Service],
    variables: Mapping[str, Mapping[str, str]],
    instances: Callable[[Service], int] = pods,
) -> list[Claim]:
    """Return what the instances of each service may open.

    Args:
        services: All services.
        variables: Variables that the files of a service and of a cluster set, by service.
        instances: Number of instances of a service: `pods` or `containers`.
    """
    found = []
    for service in with_database(services):
        given = variables[service.name]
        values = {name: _number(name, given.get(name), service) for name in _FIELDS}
        found.append(Claim(service, instances(service), values))
    return found


def problems(found: Sequence[Claim], given: Limits, place: str) -> Iterator[str]:
    """Yield what exceeds the budget or keeps a service from starting.

    Args:
        found: What the services may open.
        given: The limits.
        place: Folder of the cluster's files.
    """
    for claim in found:
        for name in ("DB_MIN_CONNECTIONS", "WORKERS"):
            if claim.variables[name] > claim.connections:
                yield (
                    f"{place}: {claim.service.name} has {name}={claim.variables[name]}, more than"
                    f" DB_MAX_CONNECTIONS={claim.connections}: lower {name}, or raise `connections` in"
                    f" {claim.service.file}"
                )
    total = sum(claim.total for claim in found)
    if total > given.available:
        parts = ", ".join(
            f"{claim.service.name} {claim.instances} pods x DB_MAX_CONNECTIONS={claim.connections}"
            for claim in found
        )
        yield (
            f"{place}: the services may open {total} connections ({parts}), more than"
            f" {_described(given)} in [tool.starkeel.database] of pyproject.toml: lower DB_MAX_CONNECTIONS,"
            f" or `max_pods` or `connections` in {_files([claim.service for claim in found])}"
        )


def _described(given: Limits) -> str:
    return (
        f"{given.available} connections (`max_connections` {given.max_connections} less"
        f" `reserved_connections` {given.reserved_connections})"
    )


def _files(services: Sequence[Service]) -> str:
    return ", ".join(service.file for service in services)


def _number(name: str, text: str | None, service: Service) -> int:
    if text is None:
        return default(name)
    if not text.isascii() or not text.isdigit():
        raise RegistryError(f"the settings of {service.name}: {name}={text} is not a whole number")
    return int(text)
