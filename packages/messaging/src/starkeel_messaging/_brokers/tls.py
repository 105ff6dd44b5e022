"""TLS of connections to brokers."""

import ssl


def client_context() -> ssl.SSLContext:
    """Return a context that verifies certificates by the system's authorities."""
    context = ssl.create_default_context()
    # SSLKEYLOGFILE in the environment would write the keys of all connections to a file.
    context.keylog_filename = None  # type: ignore[assignment]  # typeshed has no None, which disables it
    return context
