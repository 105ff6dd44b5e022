"""Both services on a PostgreSQL and a Redis of their own, watched by a real Prometheus."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starkeel_auth import generate_private_key_pem
from starkeel_testing import OtlpReceiver, OwnPostgres, Service, running, running_postgres
from starkeel_testing._servers.redis import running_redis

from .alert_receiver import Inbox
from .alert_receiver import receiving as receiving_alerts
from .stack_processes import Prometheus, alertmanager, free_port, prometheus


@dataclass
class Fleet:
    """What runs.

    Attributes:
        orders: With two workers.
        secured: Another replica of orders, which speaks TLS.
        stops: Ends accounts, and Redis, before everything ends.
    """

    postgres: OwnPostgres
    accounts: Service
    orders: Service
    secured: Service
    spans: OtlpReceiver
    prometheus: Prometheus
    alertmanager: str
    inbox: Inbox
    stops: dict[str, ExitStack] = field(default_factory=dict)

    @property
    def services(self) -> tuple[Service, ...]:
        return self.accounts, self.orders, self.secured


@contextmanager
def fleet(directory: Path) -> Iterator[Fleet]:
    """Start everything; all of it is ended with the block."""
    with ExitStack() as stack:
        # What a chapter stops stands in a stack of its own.
        stops = {name: stack.enter_context(ExitStack()) for name in ("redis", "accounts")}
        postgres = stack.enter_context(running_postgres())
        redis = stops["redis"].enter_context(running_redis())
        spans = stack.enter_context(closing(OtlpReceiver()))
        who = {"JWT_ISSUER": "https://accounts.example.com", "JWT_AUDIENCE": "shop"}
        shared = who | {"REDIS_URL": redis.url, "OTEL_EXPORTER_OTLP_ENDPOINT": spans.endpoint}
        shared |= {"OTEL_BSP_SCHEDULE_DELAY": "500"}
        env = shared | {
            "DATABASE_URL": _database(postgres, "accounts"),
            "JWT_PRIVATE_KEY": generate_private_key_pem(),
            "RATE_LIMIT_SIGN_UP": "10000/minute",
            "RATE_LIMIT_TOKEN": "20/minute",
        }
        accounts = stops["accounts"].enter_context(running("accounts", env))
        env = shared | {
            "DATABASE_URL": _database(postgres, "orders"),
            "ACCOUNTS_URL": accounts.url,
            "JWT_JWKS_URL": f"{accounts.url}/.well-known/jwks.json",
            "RATE_LIMIT_ORDER_CREATION": "10000/minute",
        }
        orders = stack.enter_context(running("orders", env | {"WORKERS": "2"}))
        secured = stack.enter_context(running("orders", env | _certificate(directory)))
        inbox, url = stack.enter_context(receiving_alerts())
        alerting = stack.enter_context(alertmanager(directory, url))
        targets = {
            "services": [_target("accounts", accounts), _target("orders", orders, secured)],
            # There is none here: a target that is down.
            "collector": [{"targets": [f"127.0.0.1:{free_port()}"]}],
        }
        watching = stack.enter_context(prometheus(directory, targets, alerting))
        yield Fleet(postgres, accounts, orders, secured, spans, watching, alerting, inbox, stops)


def _target(name: str, *services: Service) -> dict[str, object]:
    # As Docker's names, by which they are found in the deployment, would give it.
    addresses = [service.admin_url.removeprefix("http://") for service in services]
    return {"targets": addresses, "labels": {"__meta_dns_name": name}}


def _database(postgres: OwnPostgres, name: str) -> str:
    async def create() -> None:
        connection = await asyncpg.connect(postgres.url)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()

    asyncio.run(create())
    return urlunsplit(urlsplit(postgres.url)._replace(path=f"/{name}"))


def _certificate(directory: Path) -> dict[str, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
    signed = made.not_valid_after(now + timedelta(days=2)).sign(key, hashes.SHA256())
    cert_file, key_file = directory / "certificate.pem", directory / "key.pem"
    cert_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    key_file.write_bytes(key.private_bytes(*form))
    return {"TLS_CERT_FILE": str(cert_file), "TLS_KEY_FILE": str(key_file)}
