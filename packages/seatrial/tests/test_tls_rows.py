"""Rows of TLS: each passes on a good service and fails on one that is broken in exactly that way."""

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from command import rows_of
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from defects import TLS_ROWS
from reference_server import running

_PEM = serialization.Encoding.PEM


def _certificate(folder: Path, *, days: float = 90, ip: str = "127.0.0.1") -> None:
    """Write a self-signed certificate, which is also the trusted authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "reference")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(ip))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "server.pem").write_bytes(certificate.public_bytes(_PEM))
    private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").write_bytes(private)


def _server_context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context


@contextlib.contextmanager
def _plain(response: bytes) -> Iterator[int]:
    """A port of plain HTTP; yields its number."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            with stream:
                stream.recv(65536)
                stream.sendall(response)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


_REDIRECT = b"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://127.0.0.1/\r\nContent-Length: 0\r\n\r\n"
_SUCCESS = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def _rows(folder: Path, context: ssl.SSLContext, *defects: str, plain: bytes = _REDIRECT) -> dict[str, Any]:
    with running(*defects, tls=context) as server, _plain(plain) as port:
        config = f'timeout_s = 3\n[tls]\nca_file = "server.pem"\nplain_port = {port}\n'
        return rows_of(server, "--only", "tls", cwd=folder, config=config)


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    _certificate(tmp_path)
    return _server_context(tmp_path)


def test_rows_pass_on_a_good_service(tmp_path: Path, context: ssl.SSLContext) -> None:
    found = _rows(tmp_path, context)
    assert {name: row["verdict"] for name, row in found.items()} == dict.fromkeys(TLS_ROWS, "pass")


def _failures(found: dict[str, Any]) -> set[str]:
    return {name for name, row in found.items() if row["verdict"] == "fail"}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_protocol_fails_for_an_old_version(tmp_path: Path, context: ssl.SSLContext) -> None:
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    assert _failures(_rows(tmp_path, context)) == {"tls-protocol"}


def test_certificate_fails_for_another_host(tmp_path: Path) -> None:
    _certificate(tmp_path, ip="127.0.0.9")
    found = _rows(tmp_path, _server_context(tmp_path))
    assert _failures(found) == {"tls-certificate"}
    assert found["tls-expiry"]["verdict"] == "unknown"


@pytest.mark.parametrize(("days", "failing"), [(7, {"tls-expiry"}), (-1, {"tls-expiry", "tls-certificate"})])
def test_expiry_fails_before_the_end(days: float, failing: set[str], tmp_path: Path) -> None:
    _certificate(tmp_path, days=days)
    assert _failures(_rows(tmp_path, _server_context(tmp_path))) == failing


def test_hsts_fails_without_the_header(tmp_path: Path, context: ssl.SSLContext) -> None:
    assert _failures(_rows(tmp_path, context, "no hsts")) == {"tls-hsts"}


def test_plain_http_fails_for_a_success(tmp_path: Path, context: ssl.SSLContext) -> None:
    assert _failures(_rows(tmp_path, context, plain=_SUCCESS)) == {"tls-plain-http"}


@pytest.mark.parametrize(("defects", "verdict"), [((), "pass"), (("plain beside tls",), "fail")])
def test_without_a_plain_port_the_port_of_https_is_judged(
    defects: tuple[str, ...], verdict: str, tmp_path: Path, context: ssl.SSLContext
) -> None:
    config = 'timeout_s = 3\n[tls]\nca_file = "server.pem"\nplain_port = 0\n'
    with running(*defects, tls=context) as server:
        found = rows_of(server, "--only", "tls-plain-http", cwd=tmp_path, config=config)
    assert found["tls-plain-http"]["verdict"] == verdict, found
