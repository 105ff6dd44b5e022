"""TLS of connections to brokers."""

import ssl
from collections.abc import Mapping, Sequence


def client_context(query: Mapping[str, Sequence[str]]) -> ssl.SSLContext:
    """Return a context that verifies certificates by the system's authorities, or those of a file.

    Args:
        query: Options of the URL: `ssl_ca_certs`, and `ssl_certfile` with `ssl_keyfile`.
    """
    context = ssl.create_default_context(cafile=query.get("ssl_ca_certs", [None])[0])
    # SSLKEYLOGFILE in the environment would write the keys of all connections to a file.
    context.keylog_filename = None  # type: ignore[assignment]  # typeshed has no None, which disables it
    if "ssl_certfile" in query:
        context.load_cert_chain(query["ssl_certfile"][0], query["ssl_keyfile"][0])
    return context
