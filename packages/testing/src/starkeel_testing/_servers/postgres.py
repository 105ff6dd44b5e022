"""PostgreSQL servers and databases for tests."""

import asyncio
import os
import secrets
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGINT, SIGKILL, SIGSTOP, Signals
from urllib.parse import urlsplit, urlunsplit

import asyncpg  # type: ignore[import-untyped]  # has no types

from .._process.process import Process
from .._process.process_tree import processes
from .._process.temporary_directory import temporary_directory
from .._process.unprivileged_user import UnixUser, unprivileged_user
from .._wait import on_free_port
from .installations import find_postgres

_ENVIRON = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
_STOP_S = 30.0
# The data need not survive a crash of the machine. It survives that of the server, which has written each
# commit to the operating system.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "500",
    "fsync": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
}


@dataclass(frozen=True)
class PostgresServer:
    """A running PostgreSQL.

    Attributes:
        url: URL of a permanent database, as a user with the right to create databases.
    """

    url: str

    @contextmanager
    def database(self) -> Iterator[str]:
        """Create an empty database and yield its URL; drop it at the end, disconnecting its clients."""
        name = f"test_{secrets.token_hex(8)}"
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        try:
            yield urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))
        finally:
            self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        async def execute() -> None:
            connection = await asyncpg.connect(self.url, timeout=30)
            try:
                await connection.execute(statement, timeout=60)
            finally:
                await connection.close()

        # In a separate thread, because the current one may have an event loop.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, execute()).result()


class OwnPostgres:
    """A PostgreSQL that a single test controls; it keeps its port and its data when it is started again.

    Args:
        programs: Directory of the server's programs.
        data: Initialised data directory.
        user: User that the server runs as.
        password: Password of the superuser; `url` is that of its database `postgres`.
        port: Port of 127.0.0.1.
    """

    def __init__(self, programs: Path, data: Path, user: UnixUser, *, password: str, port: int) -> None:
        self.programs = programs
        self.user = user
        self.url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
        self._data = data
        self._port = port
        self._process: Process | None = None
        self._closing = ExitStack()

    def start(self, **settings: str) -> None:
        """Start the server, with settings in addition to those of all test servers.

        Raises:
            AssertionError: It did not start; the message contains its output.
        """
        options = [f"--{name}={value}" for name, value in (_SETTINGS | settings).items()]
        command = [str(self.programs / "postgres"), "-D", str(self._data), "-p", str(self._port), *options]
        # SIGINT is the fast shutdown: clients are disconnected.
        process = Process(command, env=_ENVIRON, cwd=self._data.parent, user=self.user, stop=SIGINT)
        process.wait_until_accepting("PostgreSQL")
        self._process = process
        self._closing.callback(self._process.close)

    def stop(self) -> None:
        """Stop the server with a fast shutdown."""
        self._running().terminate(_STOP_S)
        self._discard()

    def kill(self) -> None:
        """Kill all processes of the server at once."""
        self._signal(SIGKILL)
        self._running().wait(_STOP_S)
        self._discard()

    def pause(self) -> None:
        """Suspend the server: the kernel accepts connections and data, and there is no response."""
        self._signal(SIGSTOP)

    def resume(self) -> None:
        """Continue a suspended server."""
        self._signal(SIGCONT)

    def output(self) -> str:
        """Return the server's log since its last start."""
        return self._running().output.text()

    def close(self) -> None:
        """End the server in any state."""
        if self._process is not None:
            self.resume()
        # Includes the earlier processes, whose orphaned children may have held their output open.
        self._closing.close()
        self._process = None

    def _running(self) -> Process:
        assert self._process is not None, "PostgreSQL is not running"
        return self._process

    def _discard(self) -> None:
        self._running().close()
        self._process = None

    def _signal(self, signal: Signals) -> None:
        leader = self._running().popen.pid
        # The server's child processes have sessions of their own.
        for pid in [leader, *(process.pid for process in processes() if process.parent == leader)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal)


@contextmanager
def running_postgres() -> Iterator[OwnPostgres]:
    """Run a PostgreSQL on a free port of 127.0.0.1 until the block ends.

    Raises:
        AssertionError: There is no PostgreSQL, or it did not start; the message contains its output.
    """
    installation = find_postgres()
    assert installation is not None, "PostgreSQL is neither installed nor available from a wheel"
    user = unprivileged_user()
    with temporary_directory("starkeel-postgres-", owner=user) as directory:
        programs = installation.reachable("postgres", user, directory / "programs")
        password = secrets.token_urlsafe(24)
        data = directory / "data"
        _initialise(programs, data, password=password, user=user)

        def start(port: int) -> OwnPostgres:
            server = OwnPostgres(programs, data, user, password=password, port=port)
            server.start()
            return server

        with closing(on_free_port(start)) as server:
            yield server


def _initialise(programs: Path, data: Path, *, password: str, user: UnixUser) -> None:
    password_file = data.with_name("password")
    password_file.write_text(password)
    user.chown(data.parent)
    options = ["-U", "postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
    done = subprocess.run(
        [programs / "initdb", "-D", data, "--pwfile", password_file, *options],
        env=_ENVIRON,
        cwd=data.parent,
        capture_output=True,
        text=True,
        check=False,
        **user.popen_arguments,
    )
    assert done.returncode == 0, f"initdb failed\n{done.stdout}{done.stderr}"
    password_file.unlink()
