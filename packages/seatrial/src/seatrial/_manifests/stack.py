"""Judgements of compose files."""

from typing import Final

from .._static.findings import Findings
from .._static.secrets import secret_setting, secrets_in_command
from .compose import Service, Stack, interpolated
from .isolation import tag_problem

_EMPTY_PASSWORDS: Final = {
    "POSTGRES_HOST_AUTH_METHOD": "trust",
    "MYSQL_ALLOW_EMPTY_PASSWORD": "",
    "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD": "",
    "ALLOW_EMPTY_PASSWORD": "",
    "GF_AUTH_ANONYMOUS_ENABLED": "true",
}
"""Variables that permit access without a password, with the value that does; an empty one: any but `no`."""
# Images whose first account has a published password unless a variable sets another.
_DEFAULT_ACCOUNTS: Final = {
    "grafana/grafana": ("GF_SECURITY_ADMIN_PASSWORD", "GF_SECURITY_ADMIN_PASSWORD__FILE"),
    "minio/minio": ("MINIO_ROOT_PASSWORD", "MINIO_ROOT_PASSWORD_FILE"),
    "rabbitmq": ("RABBITMQ_DEFAULT_PASS", "RABBITMQ_DEFAULT_PASS_FILE"),
    "dpage/pgadmin4": ("PGADMIN_DEFAULT_PASSWORD", "PGADMIN_DEFAULT_PASSWORD_FILE"),
}
_STORES: Final = {
    "postgres", "postgis", "timescaledb", "mysql", "mariadb", "percona", "mongo", "redis", "valkey", "keydb",
    "dragonfly", "memcached", "rabbitmq", "kafka", "nats", "elasticsearch", "opensearch", "cassandra",
    "clickhouse", "etcd", "minio", "pgbouncer", "cockroach", "mssql",
}  # fmt: skip
_OFF: Final = {"", "no", "false", "0", "off"}


def health_gated(stack: Stack, findings: Findings) -> None:
    """Judge whether services wait for the health of their dependencies."""
    for service in stack.services.values():
        for name, condition in service.needs.items():
            needed = stack.services.get(name)
            where = f"{service.name} needs {name}"
            if needed is None:
                findings.bad(f"{where}, which is not a service of the file")
            elif condition == "service_completed_successfully":
                findings.good(f"{where}: {condition}")
            elif condition != "service_healthy":
                findings.bad(f"{where}: {condition} does not wait until it is ready")
            elif not needed.has_healthcheck:
                findings.undecided(
                    f"{where}: {name} has no `healthcheck` in the file; its image may have one"
                )
            else:
                findings.good(f"{where}: {condition}")


def limits(stack: Stack, findings: Findings) -> None:
    """Judge whether each service has a limit of memory and CPU."""
    for service in stack.services.values():
        given = service.fields.fields("deploy", "resources", "limits")
        missing = [
            name
            for name, other in (("memory", "mem_limit"), ("cpus", "cpus"))
            if not given.text(name) and not service.fields.text(other)
        ]
        findings.judge(
            not missing, f"{service.name}: limits", f"{service.name}: no limit for {' and '.join(missing)}"
        )


def stop_grace_period(stack: Stack, findings: Findings, *, stop_s: float | None) -> None:
    """Judge whether services that serve requests have the time that they need to stop.

    `stop_s` is the most seconds from the stop signal to the exit; `None` if it is not configured.
    """
    for service in stack.services.values():
        if stack.runs_once(service.name) or not (service.is_built or service.ports):
            continue
        grace = service.stop_grace_s
        if grace is None:
            findings.bad(f"{service.name}: no `stop_grace_period`; it is killed after 10 s")
        elif not service.is_built:
            findings.good(f"{service.name}: {grace:g} s")
        elif stop_s is None:
            findings.undecided(
                f"{service.name}: {grace:g} s; set `stop_s` in seatrial.toml to the seconds that it needs"
            )
        else:
            text = f"{service.name}: {grace:g} s; it needs {stop_s:g} s"
            findings.judge(grace >= stop_s, text, text)


def default_passwords(stack: Stack, findings: Findings) -> None:
    """Judge whether the file contains passwords, or permits access without one."""
    for service in stack.services.values():
        found = [
            f"{name} is {kind}"
            for name, value in service.environment.items()
            if (kind := secret_setting(name, interpolated(value))) is not None
        ]
        found += [
            f"{name} permits access without a password"
            for name, value in service.environment.items()
            if _permits_access(name, interpolated(value).lower())
        ]
        found += [
            f"{name} of the command is {kind}"
            for name, kind in secrets_in_command(interpolated(service.command))
        ]
        found += _default_account(service)
        findings.judge(not found, f"{service.name}: no password", f"{service.name}: {', '.join(found)}")


def published_ports(stack: Stack, findings: Findings) -> None:
    """Judge whether only the services that clients use are reachable from outside the machine."""
    for service in stack.services.values():
        for port in service.ports:
            where = f"{service.name}: {port.text}"
            if port.is_loopback:
                findings.good(f"{where}: this machine only")
            elif _repository(service) in _STORES:
                findings.bad(f"{where}: a data store is reachable from outside")
            elif stack.is_needed(service.name):
                findings.bad(f"{where}: it is reachable from outside, although other services use it inside")
            else:
                findings.good(where)
    if stack and not any(service.ports for service in stack.services.values()):
        findings.good("no service publishes a port")


def image_tags(stack: Stack, findings: Findings) -> None:
    """Judge whether images are of a fixed version."""
    for service in stack.services.values():
        if not service.image:
            continue
        image = interpolated(service.image)
        # An image that is built here has the version of the sources.
        problem = None if service.is_built else tag_problem(image)
        findings.judge(problem is None, f"{service.name}: {image}", f"{service.name}: {image}: {problem}")


def _permits_access(name: str, value: str) -> bool:
    if name not in _EMPTY_PASSWORDS:
        return False
    return value == _EMPTY_PASSWORDS[name] if _EMPTY_PASSWORDS[name] else value not in _OFF


def _default_account(service: Service) -> list[str]:
    image = interpolated(service.image).partition("@")[0]
    for name, variables in _DEFAULT_ACCOUNTS.items():
        if image.rpartition(":")[0].endswith(name) or image.endswith(name):
            # Files of variables are not read: they are not in the repository, if all is well.
            is_set = any(variable in service.environment for variable in variables)
            if not is_set and "env_file" not in service.fields:
                return [f"the first account of {name} has its default password: set {variables[0]}"]
    return []


def _repository(service: Service) -> str:
    return interpolated(service.image).partition("@")[0].rpartition("/")[2].partition(":")[0]
