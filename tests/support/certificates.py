"""A certificate authority for tests."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

_LOOPBACK = ipaddress.ip_address("127.0.0.1")
_DAY = datetime.timedelta(days=1)


class Authority:
    """Signs certificates for one day.

    Args:
        folder: Folder for its files.

    Attributes:
        certificate: Path of its own certificate.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("Test authority")
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        # Python 3.13 rejects an authority without this extension.
        usage = x509.KeyUsage(
            key_cert_sign=True,
            crl_sign=True,
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        builder = builder.add_extension(usage, critical=True)
        self.certificate = self._write("authority.pem", _pem(builder.sign(self._key, SHA256())))

    def issue(self, name: str, *, days: int = 1) -> tuple[Path, Path]:
        """Return the paths of a certificate for a host name, `localhost` and 127.0.0.1, and of its key.

        Args:
            name: Host name.
            days: Days until it expires, from -1.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName(
            [x509.DNSName(name), x509.DNSName("localhost"), x509.IPAddress(_LOOPBACK)]
        )
        builder = self._builder(_named(name), key, days=days).add_extension(names, critical=False)
        certificate = self._write(f"{name}.pem", _pem(builder.sign(self._key, SHA256())))
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return certificate, self._write(f"{name}.key", private)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int = 1
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * _DAY)
            .not_valid_after(now + days * _DAY)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(identifier, critical=False)
        )

    def _write(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text)
        path.chmod(0o644)
        return path


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
