"""Check that the registry agrees with the services' routes and settings.

python -m tools.checks.declarations    exit with 1 for a need, call or scope that only one of them has
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from litestar import Litestar
from litestar.handlers import BaseRouteHandler
from litestar.routes import HTTPRoute
from starkeel_auth import Guard
from starkeel_config import reference

from ..registry import ROOT, RegistryError, Service, issuer, read, scopes
from ..service_error import ServiceError, described

_VARIABLES = {
    "database": "DATABASE_URL",
    "signing key": "JWT_PRIVATE_KEY",
    "tokens": "JWT_JWKS_URL",
    "broker": "BROKER_URL",
}
"""By the need that a setting causes."""
_REQUIRED = {"redis": "REDIS_URL", "worker": "JOBS_CONCURRENCY"}
"""By the need that requires a setting, which may also be there without it."""


class Found(NamedTuple):
    """Settings and requirements in the code of a service.

    Attributes:
        variables: Its settings.
        scopes: Scopes that its routes require.
    """

    variables: frozenset[str]
    scopes: frozenset[str]


def main() -> int:
    """Print what disagrees; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="the workspace (default: this repository)")
    try:
        services = read(parser.parse_args().root)
        found = {service.name: _found(service.name) for service in services}
    except (RegistryError, ServiceError) as error:
        sys.stderr.write(f"{error}\n")
        return os.EX_CONFIG
    problems = [
        f"services/{service.name}/pyproject.toml: [tool.starkeel]: {problem}"
        for service in services
        for problem in [
            *_needs(service, found[service.name].variables, services),
            *_scopes(service, found, services),
        ]
    ]
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


def _needs(service: Service, variables: frozenset[str], services: Sequence[Service]) -> Iterator[str]:
    for need, variable in _VARIABLES.items():
        if variable in variables and need not in service.needs:
            yield f"needs: the service has the setting {variable}: add `{need}`"
        if variable not in variables and need in service.needs:
            yield f"needs: `{need}` without the setting {variable}: add the setting, or remove the need"
    for need, variable in _REQUIRED.items():
        if need in service.needs and variable not in variables:
            yield f"needs: `{need}` without the setting {variable}: add the setting, or remove the need"
    for other in services:
        variable = f"{other.name.upper()}_URL"
        if variable in variables and other.name not in service.calls:
            yield f"calls: the service has the setting {variable}: add `{other.name}`"
        if variable not in variables and other.name in service.calls:
            yield f"calls: `{other.name}` without the setting {variable}: add an upstream, or remove the call"


def _scopes(service: Service, found: dict[str, Found], services: Sequence[Service]) -> Iterator[str]:
    for scope in sorted(found[service.name].scopes - set(scopes(services))):
        yield f"scopes: a route requires {scope!r}, which no service owns, so that no user has it: add it"
    required = frozenset[str]().union(*(each.scopes for each in found.values()))
    # The service that grants them also has the scopes of services that are not in this workspace.
    if service is not issuer(services):
        for scope in sorted(set(service.scopes) - required):
            yield f"scopes: no route requires {scope!r}: remove it, or require it"


def _found(name: str) -> Found:
    service = None
    if find_spec(name) is not None:
        with described(name):
            service = getattr(import_module(name), "SERVICE", None)
    if service is None:
        raise RegistryError(
            f"services/{name}: its package has no `SERVICE`, or is not installed: run `uv sync`"
        )
    with described(name):
        settings = service.resolve({"ENVIRONMENT": "development"}, dotenv="/nonexistent/.env").settings
        sections = reference(type(settings), service=name).sections
        app = service.create_app(settings)
        guards = [guard for handler in _handlers(app) for guard in handler.resolve_guards()]
    return Found(
        frozenset(variable.name for section in sections for variable in section.variables),
        frozenset(scope for guard in guards if isinstance(guard, Guard) for scope in guard.scopes),
    )


def _handlers(app: Litestar) -> Iterator[BaseRouteHandler]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            yield from route.route_handlers
        else:
            yield route.route_handler


if __name__ == "__main__":
    sys.exit(main())
