"""Free ports of the loopback interface."""

import secrets
import socket

_FIRST = 10_000
_LAST = 32_000
"""Below the ports of outgoing connections, which the load of another row takes by the thousand."""
_ATTEMPTS = 100


def free_port() -> int:
    """Return a port that no process uses."""
    for _ in range(_ATTEMPTS):
        port = _FIRST + secrets.randbelow(_LAST - _FIRST)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
