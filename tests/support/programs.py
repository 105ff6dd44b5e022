"""Programs that the drills need and that must be installed."""

import shutil
import socket


def find_program(*names: str, package: str) -> str:
    """Return the path of the first program that is installed.

    Args:
        names: Names of the program.
        package: Debian package that contains it.
    """
    for name in names:
        # Debian installs some servers outside of an ordinary user's path.
        path = shutil.which(name) or shutil.which(name, path="/usr/sbin")
        if path is not None:
            return path
    raise AssertionError(f"{names[0]} is not installed: apt-get install --no-install-recommends {package}")


def free_port() -> int:
    """Return an unused port of 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port: int = reserved.getsockname()[1]
    return port
