"""TLS of connections to brokers."""

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

from starkeel_config import TlsFiles


def client_context(query: Mapping[str, Sequence[str]]) -> ssl.SSLContext:
    """Return a context that verifies certificates by the system's authorities, or those of a file.

    Args:
        query: Options of the URL: `ssl_ca_certs`, and `ssl_certfile` with `ssl_keyfile`.
    """
    names = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
    return TlsFiles(*(Path(query[name][0]) if name in query else None for name in names)).context()
