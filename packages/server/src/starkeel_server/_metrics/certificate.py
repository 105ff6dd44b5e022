"""Expiry of the served certificate as a metric."""

from pathlib import Path

import structlog

log = structlog.get_logger(__name__)


def set_expiry_metric(chain: Path) -> None:
    """Set the metric to the earliest expiry of a certificate chain in PEM.

    The service runs without the metric if the chain cannot be read or `cryptography` is not installed.
    """
    from prometheus_client import Gauge

    try:
        from cryptography.x509 import load_pem_x509_certificates

        certificates = load_pem_x509_certificates(chain.read_bytes())
        expires_at = min(certificate.not_valid_after_utc for certificate in certificates).timestamp()
    except ImportError:
        reason = "cryptography is not installed; install starkeel-server[tls]"
        log.warning("certificate expiry not reported", reason=reason)
    except (OSError, ValueError) as error:
        log.warning("certificate expiry not reported", reason=str(error))
    else:
        gauge = Gauge(
            "starkeel_certificate_not_after_timestamp_seconds",
            "When the served certificate, or one of its chain, expires, since 1970.",
            multiprocess_mode="livemin",
        )
        gauge.set(expires_at)
