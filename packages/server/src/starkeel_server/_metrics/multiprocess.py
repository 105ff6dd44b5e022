"""Prometheus metrics shared between processes, and those of the server.

`prometheus_client` decides on its first import whether it shares values between processes, so it must not be
imported before `set_directory`.
"""

from pathlib import Path

import structlog

from .._compat import incompatible
from .._config.service import ENVIRON

log = structlog.get_logger(__name__)


def set_directory(directory: Path) -> None:
    """Keep the metrics of this process and its workers in files in a directory."""
    ENVIRON["PROMETHEUS_MULTIPROC_DIR"] = str(directory)


def name_process(name: str) -> None:
    """Name the metrics files of this process by `name` instead of its process id.

    A replacement worker continues the files of its predecessor: totals are kept, and the number of files does
    not grow with restarts.
    """
    from .shared_values import name_values

    name_values(name)


def check(directory: Path) -> None:
    """Check that the installed prometheus_client is supported.

    Raises:
        StartError: It is not.
    """
    try:
        from .shared_values import check_prometheus_client
    except ImportError as error:
        raise incompatible("prometheus-client", f"ImportError: {error}") from error
    check_prometheus_client(directory)


def remove_live_gauges(directory: Path, *, name: str, pid: int) -> None:
    """Remove the live gauges of a process that has ended; its totals are kept."""
    from prometheus_client.multiprocess import mark_process_dead

    for identifier in (name, pid):
        mark_process_dead(identifier, path=str(directory))  # type: ignore[no-untyped-call]  # untyped upstream


class WorkerMetrics:
    def register(self) -> None:
        """Create the metrics; call `name_process` first."""
        from prometheus_client import Counter

        self._exits = Counter("starkeel_worker_exits_total", "Workers that ended unexpectedly.", ["reason"])
        self._replacements = Counter(
            "starkeel_worker_replacements_total", "Workers that were replaced while they served.", ["reason"]
        )
        # Start at 0: Prometheus does not count the first sample of a series as an increase.
        for reason in ("oom", "signal", "error"):
            self._exits.labels(reason)
        for reason in ("reload", "memory"):
            self._replacements.labels(reason)

    def count_exit(self, reason: str) -> None:
        self._exits.labels(reason).inc()

    def count_replacement(self, reason: str) -> None:
        self._replacements.labels(reason).inc()


def set_certificate_expiry(chain: Path) -> None:
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
