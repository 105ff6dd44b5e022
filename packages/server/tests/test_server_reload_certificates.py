"""SIGHUP: reloaded and refused certificates."""

import socket
import ssl
from pathlib import Path
from typing import Any

import httpx2
from cryptography import x509

from .sample import refused, reloaded, wait_until


def test_a_certificate_is_reloaded(samples: Any, certificate: Any, later_certificate: Any) -> None:
    paths = {name: samples.directory / f"{name}.pem" for name in ("cert", "key")}
    copy(certificate, paths)
    # The earliest expiry of the chain is reported.
    with paths["cert"].open("ab") as chain:
        chain.write(later_certificate.authority.read_bytes())
    sample = samples.start(TLS_CERT_FILE=paths["cert"], TLS_KEY_FILE=paths["key"])
    sample.wait_for_log("workers started")
    address = ("127.0.0.1", int(sample.url.rpartition(":")[2]))
    assert served(address) == ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())
    assert reported_expiry(sample) == expiry(certificate)

    copy(later_certificate, paths)
    reloaded(sample)

    assert served(address) == ssl.PEM_cert_to_DER_cert(later_certificate.cert.read_text())
    wait_until(
        lambda: reported_expiry(sample) == expiry(later_certificate), timeout_s=20, what="the new expiry"
    )


def test_a_certificate_without_its_key_is_refused(
    samples: Any, certificate: Any, other_certificate: Any
) -> None:
    paths = {name: samples.directory / f"{name}.pem" for name in ("cert", "key")}
    copy(certificate, paths)
    sample = samples.start(TLS_CERT_FILE=paths["cert"], TLS_KEY_FILE=paths["key"])
    sample.wait_for_log("workers started")
    address = ("127.0.0.1", int(sample.url.rpartition(":")[2]))

    paths["key"].write_bytes(other_certificate.key.read_bytes())

    assert "does not match TLS_CERT_FILE" in refused(sample)
    assert served(address) == ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())


def expiry(certificate: Any) -> float:
    read = x509.load_pem_x509_certificate(certificate.cert.read_bytes())
    return read.not_valid_after_utc.timestamp()


def reported_expiry(sample: Any) -> float:
    page = httpx2.get(f"{sample.admin}/metrics", timeout=20).text
    (line,) = [line for line in page.splitlines() if line.startswith("starkeel_certificate_not_after")]
    return float(line.rpartition(" ")[2])


def copy(certificate: Any, paths: dict[str, Path]) -> None:
    paths["cert"].write_bytes(certificate.cert.read_bytes())
    paths["key"].write_bytes(certificate.key.read_bytes())


def served(address: tuple[str, int]) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(address, timeout=20) as plain, context.wrap_socket(plain) as secured:
        found = secured.getpeercert(binary_form=True)
    assert found is not None
    return found
