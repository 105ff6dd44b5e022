"""Parts of shared files that list the services, generated from the registry between two marker lines.

Everything outside of the markers belongs to the team.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ..registry import RegistryError, Service, read, upstreams, urls

FILES = (
    "deploy/compose.yaml",
    "deploy/make_secrets.py",
    "deploy/observability/prometheus.yaml",
    "deploy/proxy/common.cfg",
    "deploy/proxy/plain.cfg",
    "deploy/proxy/tls.cfg",
    ".github/workflows/images.yml",
    "pyproject.toml",
)
_REGION = re.compile(
    r"^(?P<indent>[ ]*)# generated from the registry: (?P<name>[^\n]+)\n.*?^[ ]*# end of the generated part$",
    re.MULTILINE | re.DOTALL,
)
_NOT_FOUND = '{"type":"about:blank","title":"Not Found","status":404}'


def files(root: Path) -> dict[Path, str | None]:
    """Return the files with current regions.

    Raises:
        RegistryError: The registry is invalid, or a file has a region that nothing generates.
    """
    services = read(root)
    return {
        root / name: _filled(name, (root / name).read_text("utf-8"), services)
        for name in FILES
        if (root / name).exists()
    }


def _filled(file: str, text: str, services: Sequence[Service]) -> str:
    def fill(found: re.Match[str]) -> str:
        indent, name = found["indent"], found["name"]
        if name not in REGIONS:
            raise RegistryError(f"{file}: nothing generates {name!r}; known: {', '.join(REGIONS)}")
        lines = [f"# generated from the registry: {name}", *REGIONS[name](services).splitlines()]
        return "\n".join(f"{indent}{line}".rstrip() for line in [*lines, "# end of the generated part"])

    return _REGION.sub(fill, text)


def _compose_services(services: Sequence[Service]) -> str:
    return "\n\n".join(_compose_service(service, services) for service in services)


def _compose_service(service: Service, services: Sequence[Service]) -> str:
    name, needs = service.name, service.needs
    variables: dict[str, str] = {}
    secrets: list[str] = []
    healthy = [each for each in ("postgres", "redis") if {"postgres": "database"}.get(each, each) in needs]
    if "database" in needs:
        secrets.append(f"{name}-database-url")
        variables["DATABASE_URL_FILE"] = f"/run/secrets/{name}-database-url"
    if "redis" in needs:
        secrets.append("redis-url")
        variables["REDIS_URL_FILE"] = "/run/secrets/redis-url"
    if "signing key" in needs:
        secrets.append("signing-key")
        variables["JWT_PRIVATE_KEY_FILE"] = "/run/secrets/signing-key"
    variables |= urls(service, {each.name: f"http://{each.name}:3000" for each in services}, services)
    variables |= service.compose_environment
    lines = [
        f"{name}:",
        "  <<: *service",
        f"  image: ${{REGISTRY:-starkeel}}/{name}:${{VERSION:-dev}}",
        "  build:",
        "    context: ..",
        "    dockerfile: deploy/Dockerfile",
        f'    args: {{SERVICE: {name}, VERSION: "${{VERSION:-dev}}", REVISION: "${{REVISION:-unknown}}"}}',
        "  environment:",
        "    <<: *service-environment",
        *(f"    {variable}: {value}" for variable, value in variables.items()),
    ]
    if secrets:
        lines.append(f"  secrets: [{', '.join(secrets)}]")
    if depends := [*healthy, *upstreams(service, services)]:
        lines += ["  depends_on:", *(f"    {each}: {{condition: service_healthy}}" for each in depends)]
    if service.replicas == 1:
        lines.append("  deploy: {resources: *small}")
    else:
        lines += ["  deploy:", f"    replicas: {service.replicas}", "    resources: *small"]
    return "\n".join(lines)


def _healthy(services: Sequence[Service]) -> str:
    return "\n".join(f"{service.name}: {{condition: service_healthy}}" for service in services)


def _postgres_secrets(services: Sequence[Service]) -> str:
    names = [f"{service.name}-database-password" for service in _with_database(services)]
    return f"secrets: [{', '.join(['postgres-password', *names])}]"


def _secret_files(services: Sequence[Service]) -> str:
    return "\n".join(
        f'{name}: {{file: "${{SECRETS_DIR:-./secrets}}/{name}"}}'
        for service in _with_database(services)
        for name in (f"{service.name}-database-password", f"{service.name}-database-url")
    )


def _with_database(services: Sequence[Service]) -> list[Service]:
    return [service for service in services if "database" in service.needs]


def _database_owners(services: Sequence[Service]) -> str:
    names = "".join(f'"{service.name}", ' for service in _with_database(services))
    return f"SERVICES = ({names.rstrip() if len(services) == 1 else names.rstrip(', ')})"


def _backends(services: Sequence[Service]) -> str:
    return "\n\n".join(
        f"backend {name}\n"
        "    balance leastconn\n"
        "    option httpchk\n"
        f"    http-check send meth GET uri /health/ready ver HTTP/1.1 hdr Host {name}\n"
        "    http-check expect status 200\n"
        f"    server-template {name} {service.max_replicas} {name}:3000"
        for service in services
        if service.paths
        for name in [service.name]
    )


def _routes(services: Sequence[Service]) -> str:
    public = [service for service in services if service.paths]
    every = [path for service in public for path in service.paths]
    refusal = f"http-request return status 404 content-type application/problem+json lf-string '{_NOT_FOUND}'"
    return "\n".join([
        f"{refusal} unless {{ path -m reg {_pattern(every)} }}",
        *(
            f"use_backend {service.name} if {{ path -m reg {_pattern(service.paths)} }}"
            for service in public
        ),
    ])  # fmt: skip


def _pattern(paths: Sequence[str]) -> str:
    parts = "|".join(path.removeprefix("/").replace(".", r"\.") for path in paths)
    return f"^/({parts})(/|$)"


def _targets(services: Sequence[Service]) -> str:
    names = ", ".join(service.name for service in services)
    return f"dns_sd_configs: [{{names: [{names}], type: A, port: 9090, refresh_interval: 5s}}]"


def _matrix(services: Sequence[Service]) -> str:
    return f"service: [{', '.join(service.name for service in services)}]"


def _quoted(services: Sequence[Service]) -> str:
    return "\n".join(f'"{service.name}",' for service in services)


def _sources(services: Sequence[Service]) -> str:
    return "\n".join(f"{service.name} = {{ workspace = true }}" for service in services)


def _layer(services: Sequence[Service]) -> str:
    return f'"{" | ".join(service.name for service in services)}",'


REGIONS: dict[str, Callable[[Sequence[Service]], str]] = {
    "services of compose": _compose_services,
    "services that the proxy waits for": _healthy,
    "secrets of PostgreSQL": _postgres_secrets,
    "files of database secrets": _secret_files,
    "owners of databases": _database_owners,
    "backends": _backends,
    "routes": _routes,
    "targets": _targets,
    "matrix": _matrix,
    "names": _quoted,
    "sources": _sources,
    "layer": _layer,
}
"""By the name in the marker line."""
