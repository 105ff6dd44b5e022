"""TLS files of a client's connections, whose paths are settings."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ._errors import Problem


class TlsFiles(NamedTuple):
    """Files of the TLS connections of a client; each is None if it is not configured.

    Attributes:
        ca: Authorities to trust instead of those of the system.
        cert: Certificate chain of the client.
        key: Its private key, without a passphrase.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Return a context for connections to an https URL.

        Raises:
            OSError: A file is missing or invalid.
        """
        context = ssl.create_default_context(cafile=self.ca)
        # `SSLKEYLOGFILE` of the environment would write the keys of the connections to a file.
        context.keylog_filename = None  # type: ignore[assignment]  # typeshed has no None, which disables it
        if self.cert is not None:
            # Without a passphrase argument OpenSSL would prompt on the terminal for one.
            context.load_cert_chain(self.cert, self.key, password="")
        return context

    def state(self) -> tuple[object, ...]:
        """Return a value that changes when one of the files is replaced or written."""
        return tuple(None if file is None else _state(file) for file in self)

    def problems(self, url: str, *, prefix: str = "", url_variable: str = "URL") -> Iterator[Problem]:
        """Return what is wrong with the files of `PREFIX` `TLS_CA_FILE`, `TLS_CERT_FILE` and `TLS_KEY_FILE`.

        Args:
            url: URL that the connections are for.
            prefix: Begin of the names of the variables.
            url_variable: Variable of the URL.
        """
        ca, cert, key = (f"{prefix}TLS_{name}_FILE" for name in ("CA", "CERT", "KEY"))
        given = [(name, path) for name, path in zip((ca, cert, key), self, strict=True) if path]
        if given and not url.startswith("https:"):
            yield Problem(
                given[0][0], f"is set, but {url_variable} is not https://", "unset, or an https:// URL"
            )
        if (self.cert is None) != (self.key is None):
            missing, present = (key, cert)[:: 1 if self.key is None else -1]
            yield Problem(missing, f"is not set, but {present} is", "a path")
        unreadable = [problem for name, path in given for problem in _unreadable(name, path)]
        yield from unreadable
        if unreadable:
            return
        if self.ca and not _accepts(lambda context: context.load_verify_locations(self.ca)):
            yield Problem(ca, f"is '{self.ca}', which contains no certificate", "certificates in PEM")
        if (
            self.cert is not None
            and self.key is not None
            and not _accepts(lambda context: context.load_cert_chain(self.cert, self.key, password=""))
        ):
            yield Problem(
                key,
                f"is '{self.key}', which does not match {cert} '{self.cert}'",
                "the certificate's key in PEM without a passphrase",
            )


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
