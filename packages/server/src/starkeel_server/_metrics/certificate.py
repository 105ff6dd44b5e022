"""Until when the certificate that is served is valid, as a metric."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_END: Final = "-----END CERTIFICATE-----"
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17


def set_expiry_metric(chain: Path) -> None:
    """Tell when the first certificate of a chain expires; one that cannot be read stops no service.

    Args:
        chain: Path of the certificates, PEM.
    """
    from prometheus_client import Gauge

    not_after = Gauge(
        "starkeel_certificate_not_after_timestamp_seconds",
        "When the served certificate, or one of its chain, expires, since 1970.",
        multiprocess_mode="livemin",
    )
    try:
        not_after.set(expiry(chain.read_text("ascii")))
    except (OSError, ValueError, IndexError) as error:
        log.warning("expiry of the certificate not found", reason=str(error))


def expiry(chain: str) -> float:
    """Return when the first of some certificates expires, in seconds since 1970.

    Args:
        chain: Certificates in PEM, and whatever stands around them.

    Raises:
        ValueError: There is none, or one is none.
        IndexError: One is cut off.
    """
    blocks = chain.split(_END)[:-1]
    return min(_not_after(ssl.PEM_cert_to_DER_cert(_block(text))).timestamp() for text in blocks)


def _block(text: str) -> str:
    return text[text.index("-----BEGIN CERTIFICATE-----") :] + _END


def _not_after(certificate: bytes) -> datetime:
    """The end of the validity (RFC 5280, section 4.1)."""
    ((_, whole),) = _values(certificate)
    fields = _values(_values(whole)[0][1])
    # Version 1 is told by leaving it out; then: serial number, signature, issuer, validity.
    validity = fields[4 if fields[0][0] == _VERSION else 3][1]
    tag, time = _values(validity)[1]
    digits = time.decode("ascii")
    if tag == _UTC_TIME:
        # Years of two digits: 50 to 99 are those of the last century.
        digits = ("19" if digits >= "50" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _values(der: bytes) -> list[tuple[int, bytes]]:
    """Tags and contents of what stands in a row (X.690, section 8.1)."""
    found = []
    at = 0
    while at < len(der):
        tag, length = der[at], der[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(der[at : at + size])
            at += size
        found.append((tag, der[at : at + length]))
        at += length
    return found
