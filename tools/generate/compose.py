"""Parts of `deploy/compose.yaml`: services, their workers, the broker, secrets and dependencies."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..registry import Service, upstreams, urls
from . import connections

_BROKER = """\
# Keeps events on disk, and refuses a write when its memory is full instead of removing some:
# the other Redis keeps nothing when it restarts.
broker:
  <<: *hardened
  image: valkey/valkey:8.1.10
  user: "999:999"
  command: [valkey-server, /run/secrets/broker-config]
  networks: [data]
  secrets: [broker-config, broker-password]
  volumes: ["broker:/data"]
  stop_grace_period: 30s
  healthcheck:
    test: [CMD-SHELL, 'REDISCLI_AUTH="$$(cat /run/secrets/broker-password)" valkey-cli ping | grep -q PONG']
    interval: 3s
    timeout: 3s
    start_period: 30s
  deploy: {resources: *large}"""
_ARGS = 'VERSION: "${VERSION:-dev}", REVISION: "${REVISION:-unknown}"'
_BROKER_SECRETS = ("broker-config", "broker-password", "broker-url")


class _Parts(NamedTuple):
    """Variables, secrets and dependencies that the containers of a service and of its worker share."""

    variables: Mapping[str, str]
    secrets: Sequence[str]
    depends: Sequence[str]


def services_of_compose(services: Sequence[Service], shares: Mapping[str, int]) -> str:
    """Return the containers of the services and of their workers."""
    return "\n\n".join(
        text for each in services for text in _containers(each, services, shares.get(each.name))
    )


def broker(services: Sequence[Service]) -> str:
    """Return the broker, if a service needs one."""
    return _BROKER if _has_broker(services) else ""


def broker_volume(services: Sequence[Service]) -> str:
    """Return the volume of the broker, if a service needs one."""
    return "broker: {}" if _has_broker(services) else ""


def healthy(services: Sequence[Service]) -> str:
    """Return the dependencies of the proxy."""
    return "\n".join(f"{service.name}: {{condition: service_healthy}}" for service in services)


def postgres_secrets(services: Sequence[Service]) -> str:
    """Return the secrets of the container that creates databases."""
    names = [f"{service.name}-database-password" for service in connections.with_database(services)]
    return f"secrets: [{', '.join(['postgres-password', *names])}]"


def secret_files(services: Sequence[Service]) -> str:
    """Return the files of the secrets of databases."""
    return "\n".join(
        _secret_file(name)
        for service in connections.with_database(services)
        for name in (f"{service.name}-database-password", f"{service.name}-database-url")
    )


def broker_secret_files(services: Sequence[Service]) -> str:
    """Return the files of the secrets of the broker, if a service needs one."""
    return "\n".join(map(_secret_file, _BROKER_SECRETS)) if _has_broker(services) else ""


def postgres_command(limits: connections.Limits) -> str:
    """Return the command of PostgreSQL."""
    return f"command: [postgres, -c, max_connections={limits.max_connections}]"


def hosts(services: Sequence[Service]) -> str:
    """Return the accepted hosts: the public ones, and the names of the services."""
    names = ",".join(service.name for service in services)
    return f"ALLOWED_HOSTS: ${{PUBLIC_HOSTS:-127.0.0.1,localhost}},{names}"


def _has_broker(services: Sequence[Service]) -> bool:
    return any("broker" in service.needs for service in services)


def _secret_file(name: str) -> str:
    return f'{name}: {{file: "${{SECRETS_DIR:-./secrets}}/{name}"}}'


def _containers(service: Service, services: Sequence[Service], share: int | None) -> list[str]:
    parts = _parts(service, services, share)
    anchor = f"&{service.name}-environment" if service.has_worker else ""
    build = [
        "  build:",
        "    context: ..",
        "    dockerfile: deploy/Dockerfile",
        f"    args: {{SERVICE: {service.name}, {_ARGS}}}",
    ]
    environment = [
        f"  environment: {anchor}".rstrip(),
        "    <<: *service-environment",
        *(f"    {variable}: {value}" for variable, value in parts.variables.items()),
    ]
    made = [_container(service.name, service, [*build, *environment], parts, service.replicas)]
    if service.has_worker:
        # The image is built once, for the service.
        lines = ["  command: [worker]", f"  environment: *{service.name}-environment"]
        made.append(_container(service.worker, service, lines, parts, service.worker_replicas))
    return made


def _container(name: str, service: Service, lines: Sequence[str], parts: _Parts, replicas: int) -> str:
    text = [
        f"{name}:",
        "  <<: *service",
        f"  image: ${{REGISTRY:-starkeel}}/{service.name}:${{VERSION:-dev}}",
        *lines,
    ]
    if parts.secrets:
        text.append(f"  secrets: [{', '.join(parts.secrets)}]")
    if parts.depends:
        text += ["  depends_on:", *(f"    {each}" for each in parts.depends)]
    if replicas == 1:
        text.append("  deploy: {resources: *small}")
    else:
        text += ["  deploy:", f"    replicas: {replicas}", "    resources: *small"]
    return "\n".join(text)


def _parts(service: Service, services: Sequence[Service], share: int | None) -> _Parts:
    name, needs = service.name, service.needs
    variables: dict[str, str] = {}
    secrets: list[str] = []
    databases = ["databases: {condition: service_completed_successfully}"] if "database" in needs else []
    required = [need for need in ("redis", "broker") if need in needs]
    if "database" in needs:
        secrets.append(f"{name}-database-url")
        variables["DATABASE_URL_FILE"] = f"/run/secrets/{name}-database-url"
    if share is not None:
        variables |= {key: str(value) for key, value in connections.settings(share).items()}
    for need in required:
        secrets.append(f"{need}-url")
        variables[f"{need.upper()}_URL_FILE"] = f"/run/secrets/{need}-url"
    if "signing key" in needs:
        secrets.append("signing-key")
        variables["JWT_PRIVATE_KEY_FILE"] = "/run/secrets/signing-key"
    if service.has_worker:
        variables["RUN_WORKER"] = '"false"'
    variables |= urls(service, {each.name: f"http://{each.name}:3000" for each in services}, services)
    variables |= service.compose_environment
    depends = [
        f"{each}: {{condition: service_healthy}}" for each in (*required, *upstreams(service, services))
    ]
    return _Parts(variables, secrets, [*databases, *depends])
