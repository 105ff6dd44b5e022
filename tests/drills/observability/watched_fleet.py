"""Both services on a private PostgreSQL and Redis, scraped by a Prometheus."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from starkeel_auth import generate_private_key_pem
from starkeel_testing import OtlpReceiver, OwnPostgres, Service, running, running_postgres
from starkeel_testing._servers.redis import running_redis

from ...support.certificates import Authority
from ...support.postgres import execute
from ...support.programs import free_port
from .alert_receiver import AlertReceiver, receiving_alerts
from .stack_processes import Prometheus, alertmanager, prometheus


@dataclass
class WatchedFleet:
    """The running processes.

    Attributes:
        orders: Two workers.
        secured: A second replica of orders, with TLS.
        stops: Stops accounts and Redis early.
    """

    postgres: OwnPostgres
    accounts: Service
    orders: Service
    secured: Service
    spans: OtlpReceiver
    prometheus: Prometheus
    alertmanager: str
    alerts: AlertReceiver
    stops: dict[str, ExitStack] = field(default_factory=dict)

    @property
    def services(self) -> tuple[Service, ...]:
        return self.accounts, self.orders, self.secured


@contextmanager
def watched_fleet(directory: Path) -> Iterator[WatchedFleet]:
    """Start all processes; the block ends them."""
    with ExitStack() as stack:
        # The scenario stops these early, so each has a stack of its own.
        stops = {name: stack.enter_context(ExitStack()) for name in ("redis", "accounts")}
        postgres = stack.enter_context(running_postgres())
        redis = stops["redis"].enter_context(running_redis())
        spans = stack.enter_context(closing(OtlpReceiver()))
        tokens = {"JWT_ISSUER": "https://accounts.example.com", "JWT_AUDIENCE": "shop"}
        servers = {"REDIS_URL": redis.url, "BROKER_URL": redis.url}
        shared = tokens | servers | {"OTEL_EXPORTER_OTLP_ENDPOINT": spans.endpoint}
        shared |= {"OTEL_BSP_SCHEDULE_DELAY": "500"}
        env = shared | {
            "DATABASE_URL": _database(postgres, "accounts"),
            "JWT_PRIVATE_KEY": generate_private_key_pem(),
            "RATE_LIMIT_SIGN_UP": "10000/minute",
            "RATE_LIMIT_TOKEN": "20/minute",
            "RATE_LIMIT_PROFILE": "10000/minute",
        }
        accounts = stops["accounts"].enter_context(running("accounts", env))
        env = shared | {
            "DATABASE_URL": _database(postgres, "orders"),
            "ACCOUNTS_URL": accounts.url,
            "JWT_JWKS_URL": f"{accounts.url}/.well-known/jwks.json",
            "RATE_LIMIT_ORDER_CREATION": "10000/minute",
            "RATE_LIMIT_ORDER_READING": "10000/minute",
            "RATE_LIMIT_ORDER_CHANGES": "10000/minute",
        }
        orders = stack.enter_context(running("orders", env | {"WORKERS": "2"}))
        secured = stack.enter_context(running("orders", env | _tls_files(directory)))
        alerts, url = stack.enter_context(receiving_alerts())
        alerting = stack.enter_context(alertmanager(directory, url))
        targets = {
            "services": [_target("accounts", accounts), _target("orders", orders, secured)],
            # A target that is down.
            "collector": [{"targets": [f"127.0.0.1:{free_port()}"]}],
        }
        watching = stack.enter_context(prometheus(directory, targets, alerting))
        yield WatchedFleet(postgres, accounts, orders, secured, spans, watching, alerting, alerts, stops)


def _target(name: str, *services: Service) -> dict[str, object]:
    # The label that service discovery by Docker's DNS sets in the deployment.
    addresses = [service.admin_url.removeprefix("http://") for service in services]
    return {"targets": addresses, "labels": {"__meta_dns_name": name}}


def _database(postgres: OwnPostgres, name: str) -> str:
    execute(postgres.url, f"CREATE DATABASE {name}")
    return urlunsplit(urlsplit(postgres.url)._replace(path=f"/{name}"))


def _tls_files(directory: Path) -> dict[str, str]:
    certificate, key = Authority(directory).issue("localhost")
    return {"TLS_CERT_FILE": str(certificate), "TLS_KEY_FILE": str(key)}
