"""Settings of a service, with groups used alone and with a prefix."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from starkeel_config import (
    ConfigurationError,
    Environment,
    Problem,
    Secret,
    ServiceSettings,
    Settings,
    Variable,
    load,
    prefixed,
)

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
URL = "postgresql://orders:wpLbgy7sK2@db/orders"


class Database(Settings, frozen=True, kw_only=True):
    url: Annotated[Secret, Variable("DATABASE_URL", development="sqlite:///.data/{service}.db")]
    most: Annotated[int, Variable("DB_MAX_CONNECTIONS"), msgspec.Meta(ge=1, le=10_000)] = 20
    least: Annotated[int, Variable("DB_MIN_CONNECTIONS"), msgspec.Meta(ge=1, le=10_000)] = 5

    def problems(self, environment: Environment) -> Iterator[Problem]:
        if self.least > self.most:
            yield Problem(
                "DB_MIN_CONNECTIONS", f"is {self.least}, more than DB_MAX_CONNECTIONS ({self.most})"
            )
        if environment == "production" and self.url.reveal().startswith("sqlite"):
            yield Problem("DATABASE_URL", "is an SQLite file", "a postgresql:// URL in production")


class Server(Settings, frozen=True, kw_only=True):
    port: Annotated[Port, Variable("PORT")] = 3000
    environment: Annotated[Environment, Variable("ENVIRONMENT")] = "production"
    certificate: Annotated[Path | None, Variable("TLS_CERT_FILE")] = None
    drain_s: Annotated[
        float, Variable("DRAIN_DELAY_SECONDS", development="0"), msgspec.Meta(ge=0, le=600)
    ] = 5.0
    name: Annotated[str, Variable("OTEL_SERVICE_NAME", service_default="{service}")]


class Upstream(Settings, frozen=True, kw_only=True):
    url: Annotated[str, Variable("URL")]
    timeout_s: Annotated[float, Variable("TIMEOUT_SECONDS"), msgspec.Meta(gt=0, le=60)] = 2.0

    def problems(self, environment: Environment) -> Iterator[Problem]:
        if not self.url.startswith("http"):
            yield Problem("URL", f"is {self.url!r}", "an http:// or https:// URL")


class Service(ServiceSettings, frozen=True, kw_only=True):
    server: Server
    database: Database
    accounts: Upstream = prefixed("ACCOUNTS", development={"URL": "http://127.0.0.1:3000"})


def problems_of(environ: dict[str, str], struct: type[Settings] = Service, **options: Any) -> list[Problem]:
    with pytest.raises(ConfigurationError) as caught:
        load(struct, environ, service="orders", **options)
    return list(caught.value.problems)
