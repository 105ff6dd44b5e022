"""Fixtures of the server tests."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .sample import Samples, wait_until


class Certificate(NamedTuple):
    """Paths of a CA certificate, and of a certificate for localhost with its key."""

    authority: Path
    cert: Path
    key: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for localhost."""
    return _made(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def other_certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Another certificate for localhost."""
    return _made(tmp_path_factory.mktemp("other-certificate"))


@pytest.fixture(scope="session")
def later_certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for localhost that expires in another century."""
    return _made(tmp_path_factory.mktemp("later-certificate"), lifetime=timedelta(days=40_000))


def _made(directory: Path, lifetime: timedelta = timedelta(days=1)) -> Certificate:
    made = Certificate(directory / "authority.pem", directory / "cert.pem", directory / "key.pem")
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = serialization.Encoding.PEM
    signed = _certificate("authority", authority_key.public_key(), signer=authority_key, lifetime=lifetime)
    made.authority.write_bytes(signed.public_bytes(pem))
    signed = _certificate("localhost", key.public_key(), signer=authority_key, lifetime=lifetime)
    made.cert.write_bytes(signed.public_bytes(pem))
    made.key.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


def _certificate(
    name: str, key: ec.EllipticCurvePublicKey, *, signer: ec.EllipticCurvePrivateKey, lifetime: timedelta
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=name == "authority", path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )


@contextmanager
def _samples(directory: Path) -> Iterator[Samples]:
    with ExitStack() as stack:
        yield Samples(directory, stack)


@pytest.fixture
def samples(tmp_path: Path) -> Iterator[Samples]:
    """Sample processes; all of them are ended after the test, and none may be left."""
    with _samples(tmp_path) as made:
        yield made
    wait_until(lambda: not made.processes(), timeout_s=10, what="no process left")
