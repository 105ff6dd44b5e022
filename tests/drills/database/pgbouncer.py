"""PgBouncer in transaction mode, in front of a private PostgreSQL."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

from starkeel_testing import wait_until
from starkeel_testing._process.process import Process
from starkeel_testing._process.temporary_directory import temporary_directory
from starkeel_testing._process.unprivileged_user import unprivileged_user
from starkeel_testing._wait import unused_port

from ...support.programs import find_program

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {directory}/users.txt
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
"""


@contextmanager
def pgbouncer(server_url: str, *, size: int) -> Iterator[str]:
    """Run a PgBouncer and yield its URL.

    Args:
        server_url: URL of the server.
        size: Number of server connections that the clients share.
    """
    program = find_program("pgbouncer", package="pgbouncer")
    parts = urlsplit(server_url)
    # It refuses to run as root.
    user = unprivileged_user()
    port = unused_port()
    with temporary_directory("starkeel-pgbouncer-", owner=user) as directory:
        text = CONFIGURATION.format(server_port=parts.port, port=port, directory=directory, size=size)
        (directory / "pgbouncer.ini").write_text(text)
        (directory / "users.txt").write_text(f'"{parts.username}" "{parts.password}"\n')
        user.chown(directory)
        command = [program, str(directory / "pgbouncer.ini")]
        process = Process(command, env={"PATH": "/usr/bin"}, cwd=directory, user=user)
        try:
            wait_until(lambda: _is_open(port), timeout_s=20, what=process.output.text)
            yield urlunsplit(parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}"))
        finally:
            process.close()


def _is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
