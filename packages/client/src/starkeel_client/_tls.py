"""Reasons of failed TLS connections to an upstream."""

import ssl
from typing import Final

_HOSTNAME_MISMATCH: Final = 62


def explain(error: BaseException) -> str | None:
    """Return which certificate a failed connection was rejected for, and the setting to check.

    Returns:
        `None` if the failure has another cause.
    """
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, ssl.SSLCertVerificationError):
            # The text for another host contains the host.
            is_other = cause.verify_code == _HOSTNAME_MISMATCH
            why = "it is for another host" if is_other else cause.verify_message
            return f"the certificate of the upstream is not trusted: {why}; check URL and TLS_CA_FILE"
        alert = (cause.reason or "") if isinstance(cause, ssl.SSLError) else ""
        if "ALERT" in alert and ("CERTIFICATE" in alert or "UNKNOWN_CA" in alert):
            words = alert.partition("ALERT_")[2].replace("_", " ").lower()
            return f"the upstream rejected the client certificate: {words}; check TLS_CERT_FILE"
        cause = cause.__cause__ or cause.__context__
    return None
