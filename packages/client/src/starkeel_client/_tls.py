"""TLS of connections to an upstream: trusted authorities and the client certificate."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from starkeel_config import Problem

TLS_FILES: Final = {name: name.lower() for name in ("TLS_CA_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE")}
"""Fields of the settings with the path of a file, by variable."""

_HOSTNAME_MISMATCH: Final = 62


def client_context(ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """Return the context of connections to an https URL.

    Args:
        ca_file: Authorities to trust instead of those of the system.
        cert_file: Certificate chain of the client.
        key_file: Its private key, without a passphrase.

    Raises:
        OSError: A file is missing or invalid.
    """
    context = ssl.create_default_context(cafile=ca_file)
    # `SSLKEYLOGFILE` of the environment would write the keys of the connections to a file.
    context.keylog_filename = None  # type: ignore[assignment]  # typeshed has no None, which disables it
    if cert_file is not None:
        # Without a passphrase argument OpenSSL would prompt on the terminal for one.
        context.load_cert_chain(cert_file, key_file, password="")
    return context


def problems(
    url: str, ca_file: Path | None, cert_file: Path | None, key_file: Path | None
) -> Iterator[Problem]:
    """Return what is wrong with the files."""
    given = [
        (name, path) for name, path in zip(TLS_FILES, (ca_file, cert_file, key_file), strict=True) if path
    ]
    if given and not url.startswith("https:"):
        yield Problem(given[0][0], "is set, but URL is not https://", "unset, or an https:// URL")
    if (cert_file is None) != (key_file is None):
        missing, present = ("TLS_KEY_FILE", "TLS_CERT_FILE")[:: 1 if key_file is None else -1]
        yield Problem(missing, f"is not set, but {present} is", "a path")
    unreadable = [problem for name, path in given for problem in _unreadable(name, path)]
    yield from unreadable
    if unreadable:
        return
    if ca_file is not None and not _accepts(lambda context: context.load_verify_locations(ca_file)):
        yield Problem("TLS_CA_FILE", f"is '{ca_file}', which contains no certificate", "certificates in PEM")
    if (
        cert_file is not None
        and key_file is not None
        and not _accepts(lambda context: context.load_cert_chain(cert_file, key_file, password=""))
    ):
        yield Problem(
            "TLS_KEY_FILE",
            f"is '{key_file}', which does not match TLS_CERT_FILE '{cert_file}'",
            "the certificate's key in PEM without a passphrase",
        )


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


def fingerprint(*files: Path | None) -> tuple[object, ...]:
    """Return a value that changes when one of the files is replaced or written."""
    return tuple(None if file is None else _state(file) for file in files)


def _state(file: Path) -> object:
    try:
        state = file.stat()
    except OSError as error:
        return error.errno
    return state.st_ino, state.st_mtime_ns, state.st_size


def _unreadable(variable: str, path: Path) -> Iterator[Problem]:
    try:
        path.read_bytes()
    except OSError as error:
        why = (error.strerror or "cannot be read").lower()
        yield Problem(variable, f"is '{path}': {why}", "the path of a readable file")


def _accepts(load: Callable[[Any], None]) -> bool:
    try:
        load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    except (ValueError, OSError):
        return False
    return True
