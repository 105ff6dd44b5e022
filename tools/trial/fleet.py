"""The services of the registry, running as in development and as in production."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from starkeel_auth import generate_private_key_pem
from starkeel_testing import PostgresServer, running, running_postgres, running_redis
from starkeel_testing import Service as Process

from tests.support.certificates import Authority

from ..registry import ROOT, Service, issuer, read, upstreams, urls
from .controlled_database import controlled_database
from .drills import drill_keys, rows_without_subject
from .subject import Subject
from .tokens import tokens

Mode = Literal["development", "production"]
MODES: tuple[Mode, ...] = ("development", "production")
_ORIGIN = "https://app.example"
_DEVELOPMENT_ISSUER = "http://127.0.0.1:3000"
_START_S = 90.0
_CERTIFICATE_DAYS = 60


@contextmanager
def running_fleet(mode: Mode, *, is_drilled: bool = False) -> Iterator[list[Subject]]:
    """Run every service until the block ends; yield them as subjects.

    Args:
        mode: `development` has embedded databases, as `just dev`; `production` has PostgreSQL, Redis, two
            workers, the settings of production, and TLS for services that no other one calls.
        is_drilled: Whether the subjects have what `seatrial drill` needs, with a PostgreSQL for them.
    """
    services, key = read(), generate_private_key_pem()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="trial-")))
        production = _Production(stack, services, folder) if mode == "production" else None
        disturbed = stack.enter_context(controlled_database()) if is_drilled else None
        issuing = issuer(services)
        processes: dict[str, Process] = {}
        drills: dict[str, dict[str, Any]] = {}
        for service in _in_order(services):
            addresses = {each.name: "" for each in services} | {n: each.url for n, each in processes.items()}
            environ = production.environ(service) if production else {"JWT_ISSUER": _DEVELOPMENT_ISSUER}
            environ |= urls(service, addresses, services)
            if "signing key" in service.needs:
                environ["JWT_PRIVATE_KEY"] = key
            if disturbed is not None:
                drilled_url = stack.enter_context(disturbed.server.database())
                drill = drill_keys(service, environ, disturbed, database_url=drilled_url)
                drills[service.name] = {"drill": drill, "skip": rows_without_subject(service.name, drill)}
                if service == issuing:
                    # The instances of its drill must have the user of the tokens.
                    environ["DATABASE_URL"] = drilled_url
            processes[service.name] = stack.enter_context(running(service.name, environ, timeout_s=_START_S))
        auth = tokens(processes[issuing.name], key, folder) if issuing else {}
        yield [
            Subject(
                name=f"{name}, {mode}",
                keys={
                    "url": process.url,
                    "admin_url": process.admin_url,
                    "auth": auth,
                    **drills.get(name, {}),
                    **(production.keys(process) if production else {}),
                },
                base=ROOT / "services" / name / "seatrial.toml",
            )
            for name, process in processes.items()
        ]


def _in_order(services: Sequence[Service]) -> list[Service]:
    """Return the services, each after those that it calls as far as these do not form a circle."""
    ordered: list[Service] = []
    left = list(services)
    while left:
        names = {service.name for service in ordered}
        ready = [service for service in left if {*upstreams(service, services)} <= names] or left[:1]
        ordered += ready
        left = [service for service in left if service not in ready]
    return ordered


class _Production:
    """PostgreSQL, Redis and certificates, which end with the stack."""

    def __init__(self, stack: ExitStack, services: Sequence[Service], folder: Path) -> None:
        self._stack = stack
        self._postgres = PostgresServer(stack.enter_context(running_postgres()).url)
        self._redis_url = stack.enter_context(running_redis()).url
        self._authority = Authority(folder)
        self._called = {name for service in services for name in upstreams(service, services)}

    def environ(self, service: Service) -> dict[str, str]:
        environ = {
            "ENVIRONMENT": "production",
            "JWT_ISSUER": "https://accounts.example.com",
            "JWT_AUDIENCE": "starkeel",
            "ALLOWED_HOSTS": "127.0.0.1,localhost",
            "CORS_ALLOWED_ORIGINS": _ORIGIN,
            "WORKERS": "2",
        }
        if "database" in service.needs:
            environ["DATABASE_URL"] = self._stack.enter_context(self._postgres.database())
        if "redis" in service.needs:
            environ["REDIS_URL"] = self._redis_url
        if service.name not in self._called:
            certificate, key = self._authority.issue(service.name, days=_CERTIFICATE_DAYS)
            environ |= {"TLS_CERT_FILE": str(certificate), "TLS_KEY_FILE": str(key)}
        return environ

    def keys(self, process: Process) -> dict[str, Any]:
        keys: dict[str, Any] = {"cors": {"allowed_origins": [_ORIGIN]}}
        if process.url.startswith("https:"):
            keys["tls"] = {"ca_file": str(self._authority.certificate), "plain_port": 0}
        return keys
