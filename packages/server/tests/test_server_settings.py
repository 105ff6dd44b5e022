"""Validation of settings and development defaults."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starkeel_config import ConfigurationError, load
from starkeel_server import ServerSettings


def test_defaults() -> None:
    settings = load(ServerSettings, {}, service="orders")

    assert (settings.host, settings.port, settings.metrics_host, settings.metrics_port) == (
        "0.0.0.0",
        3000,
        "0.0.0.0",
        9090,
    )
    assert settings.workers == 1
    assert (settings.body_read_timeout_s, settings.loop_stall_s) == (20, 1)
    assert settings.worker_max_rss_bytes is None
    assert (settings.drain_delay_s, settings.shutdown_grace_s, settings.shutdown_flush_s) == (5, 20, 3)
    assert not settings.uses_tls


def test_a_shutdown_fits_into_the_kubernetes_default_grace_period() -> None:
    settings = load(ServerSettings, {}, service="orders")

    assert settings.drain_delay_s + settings.shutdown_grace_s + settings.shutdown_flush_s + 2 <= 30


def test_development_has_no_drain_delay(tmp_path: Path) -> None:
    settings = load(
        ServerSettings, {"ENVIRONMENT": "development"}, service="orders", dotenv=tmp_path / ".env"
    )

    assert (settings.drain_delay_s, settings.shutdown_grace_s, settings.shutdown_flush_s) == (0, 2, 1)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"WORKERS": "65"}, "WORKERS is '65'"),
        ({"WORKERS": "0"}, "WORKERS is '0'"),
        ({"PORT": "65536"}, "65535"),
        ({"PORT": "9090"}, "METRICS_PORT is 9090, the same as PORT"),
        ({"DRAIN_DELAY_SECONDS": "-1"}, "DRAIN_DELAY_SECONDS"),
        ({"SHUTDOWN_GRACE_SECONDS": "inf"}, "SHUTDOWN_GRACE_SECONDS"),
        ({"BODY_READ_TIMEOUT_SECONDS": "0"}, "BODY_READ_TIMEOUT_SECONDS"),
        ({"HEAD_READ_TIMEOUT_SECONDS": "76"}, "HEAD_READ_TIMEOUT_SECONDS"),
        ({"LOOP_STALL_SECONDS": "0"}, "LOOP_STALL_SECONDS"),
        ({"WORKER_MAX_RSS_BYTES": "100"}, "WORKER_MAX_RSS_BYTES"),
        ({"TLS_CERT_FILE": "/nowhere"}, "TLS_KEY_FILE is not set, but TLS_CERT_FILE is"),
        ({"TLS_KEY_FILE": "/nowhere"}, "TLS_CERT_FILE is not set, but TLS_KEY_FILE is"),
        ({"TLS_CLIENT_CA_FILE": "/nowhere"}, "TLS_CERT_FILE is not set, but TLS_CLIENT_CA_FILE is"),
        (
            {"TLS_CERT_FILE": "/nowhere", "TLS_KEY_FILE": "/nowhere"},
            "TLS_KEY_FILE is '/nowhere': no such file",
        ),
    ],
)
def test_invalid_settings_are_rejected(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load(ServerSettings, environ, service="orders")

    assert message in str(refused.value)


def test_a_key_that_does_not_match_the_certificate_is_rejected(certificate: Any, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    other = tmp_path / "other.pem"
    pkcs8 = serialization.PrivateFormat.PKCS8
    other.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption()))
    locked = tmp_path / "locked.pem"
    encryption = serialization.BestAvailableEncryption(b"secret")
    locked.write_bytes(key.private_bytes(serialization.Encoding.PEM, pkcs8, encryption))

    environ = {"TLS_CERT_FILE": str(certificate.cert), "TLS_KEY_FILE": str(certificate.key)}
    assert load(ServerSettings, environ, service="orders").uses_tls

    for path in (other, locked):
        with pytest.raises(ConfigurationError, match="does not match TLS_CERT_FILE"):
            load(ServerSettings, {**environ, "TLS_KEY_FILE": str(path)}, service="orders")


def test_a_ca_file_without_certificates_is_rejected(certificate: Any, tmp_path: Path) -> None:
    nothing = tmp_path / "authorities.pem"
    nothing.write_text("to be done")
    environ = {"TLS_CERT_FILE": str(certificate.cert), "TLS_KEY_FILE": str(certificate.key)}

    with pytest.raises(ConfigurationError, match=r"TLS_CLIENT_CA_FILE is .* contains no certificate"):
        load(ServerSettings, {**environ, "TLS_CLIENT_CA_FILE": str(nothing)}, service="orders")
