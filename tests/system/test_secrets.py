"""Secrets in the settings of a service whose start fails."""

import pytest
from starkeel_testing import exits

from ..support.secrets import Secrets

NEEDED_SERVICES = ("accounts",)


@pytest.mark.parametrize(
    ("variable", "template"),
    [
        ("DATABASE_URL", "postgresql://ada:{}@127.0.0.1:9/x"),
        ("DATABASE_URL", "nonsense://ada:{}@127.0.0.1:9/x"),
        ("DATABASE_URL", "postgresql://ada:{}@127.0.0.1:port/x"),
        ("DATABASE_URL_FILE", "/nowhere/{}"),
        ("REDIS_URL", "nonsense://ada:{}@127.0.0.1:9"),
        ("JWT_PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "no pair {}"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://ada:{}@127.0.0.1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://127.0.0.1/?token={}"),
    ],
)
def test_a_failed_start_reveals_no_secret(variable: str, template: str) -> None:
    secrets = Secrets()
    text = template.format(secrets.make(variable))

    finished = exits("accounts", {variable: text, "DB_STARTUP_TIMEOUT_SECONDS": "0.5"})

    assert finished.code in {69, 78}, finished.output
    assert secrets.found_in(finished.output) == []
