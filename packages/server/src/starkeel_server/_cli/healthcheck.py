"""The `health` command: probes the running service.

Container runtimes run it every few seconds, in an image without curl. It imports no framework and uses a bare
socket.
"""

import json
import socket
import sys
from argparse import Namespace

from starkeel_config import ConfigurationError, load

from .._config.service import ENVIRON, Service
from .._config.settings import ServerSettings

_TIMEOUT_S = 3.0
_MAX_BYTES = 65_536
"""Of a response: another process may listen on the port."""
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def healthcheck(service: Service, options: Namespace) -> int:
    """Probe the service of this environment; return 0 if it responds 200, else 1."""
    try:
        settings = load(ServerSettings, ENVIRON, service=service.name)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    try:
        status, body = _probe(settings, "ready" if options.ready else "live")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{service.name} does not answer: {error}\n")
        return 1
    (sys.stdout if status == 200 else sys.stderr).write(f"{body}\n")
    return 0 if status == 200 else 1


def _probe(settings: ServerSettings, endpoint: str) -> tuple[int, str]:
    live = _get(settings.metrics_host, settings.metrics_port, "/live", tls=False)
    if settings.tls_client_ca_file is None and not _is_worker(live[1]):
        return _get(settings.host, settings.port, f"/health/{endpoint}", tls=settings.uses_tls)
    # There is no application port, or it requires a client certificate.
    if endpoint == "live":
        return live
    return _get(settings.metrics_host, settings.metrics_port, f"/{endpoint}", tls=False)


def _is_worker(live: str) -> bool:
    """Return whether the process was started by the command `worker`, from its liveness."""
    try:
        return bool(json.loads(live)["command"] == "worker")
    except (ValueError, TypeError, LookupError):
        raise ValueError("another process has the admin port") from None


def _get(host: str, port: int, path: str, *, tls: bool) -> tuple[int, str]:
    connection = socket.create_connection((_LOOPBACK.get(host, host), port), timeout=_TIMEOUT_S)
    with connection:
        if tls:
            connection = _start_tls(connection)
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while len(received) < _MAX_BYTES and (part := connection.recv(65_536)):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise ValueError("the response is not HTTP")
    return int(words[1]), body.decode("utf-8", "replace").strip()


def _start_tls(connection: socket.socket) -> socket.socket:
    import ssl

    # Not verified: the certificate is issued for the public name, not for the loopback address.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection)
