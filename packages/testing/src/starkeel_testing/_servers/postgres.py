"""PostgreSQL for tests: a server of our own, and a fresh database whenever one is wanted."""

import asyncio
import secrets
import subprocess
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg  # type: ignore[import-untyped]  # has no types

from .._process.process import Process
from .._process.temporary_directory import temporary_directory
from .._process.unprivileged_user import Account, ordinary_account
from .._wait import unused_port, wait_until
from .installations import Installation

_ATTEMPTS = 3
_ENVIRON = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
# Nothing here outlives the tests, so nothing has to survive a power cut.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "500",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
}


@dataclass(frozen=True)
class PostgresServer:
    """A running PostgreSQL.

    Attributes:
        url: Of a database that is always there, with the right to make others.
    """

    url: str

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database and yield its URL; drop it at the end, whoever is still connected."""
        name = f"test_{secrets.token_hex(8)}"
        _do(_execute(self.url, f'CREATE DATABASE "{name}" TEMPLATE template0'))
        try:
            yield urlunsplit(urlsplit(self.url)._replace(path=f"/{name}"))
        finally:
            _do(_execute(self.url, f'DROP DATABASE "{name}" WITH (FORCE)'))


@contextmanager
def postgres(installation: Installation) -> Iterator[PostgresServer]:
    """Run a PostgreSQL on a free port of 127.0.0.1, until the block ends.

    Run by root, the server runs as an ordinary user: it refuses anything else.

    Raises:
        AssertionError: It does not start; the message holds what it said.
    """
    account = ordinary_account()
    with temporary_directory("starkeel-postgres-", owner=account) as directory:
        programs = installation.reachable("postgres", account, directory / "programs")
        password = secrets.token_urlsafe(24)
        data = initialised(programs, directory, password=password, account=account)
        process, port = _served(programs, data, account)
        try:
            url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
            _do(_execute(url, "SELECT 1"))
            yield PostgresServer(url)
        finally:
            process.close()


def initialised(programs: Path, directory: Path, *, password: str, account: Account) -> Path:
    secret = directory / "password"
    secret.write_text(password)
    account.owns(directory)
    data = directory / "data"
    options = ["-U", "postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
    done = subprocess.run(
        [programs / "initdb", "-D", data, "--pwfile", secret, *options],
        env=_ENVIRON,
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        **account.popen,
    )
    assert done.returncode == 0, f"initdb failed\n{done.stdout}{done.stderr}"
    secret.unlink()
    return data


def _served(programs: Path, data: Path, account: Account) -> tuple[Process, int]:
    """Start the server; another port when somebody took ours in the meantime."""
    said = ""
    for _ in range(_ATTEMPTS):
        port = unused_port()
        process = served_at(port, programs, data, account, SETTINGS)
        if accepts(process):
            return process, port
        process.close()
        said = process.output.text()
    raise AssertionError(f"PostgreSQL does not start\n{said}")


def served_at(
    port: int, programs: Path, data: Path, account: Account, settings: Mapping[str, str]
) -> Process:
    """Start the server's process, which may refuse to serve."""
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), *options]
    # SIGINT is its fast shutdown: it disconnects clients instead of waiting for them.
    return Process(command, env=_ENVIRON, cwd=data.parent, account=account, stop=SIGINT)


def accepts(process: Process) -> bool:
    wait_until(
        lambda: process.popen.poll() is not None or "ready to accept" in process.output.text(),
        timeout_s=60.0,
        what=lambda: f"PostgreSQL to start\n{process.output.text()}",
    )
    return process.popen.poll() is None


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=30)
    try:
        await connection.execute(statement, timeout=60)
    finally:
        await connection.close()


def _do(work: Coroutine[Any, Any, None]) -> None:
    # In a thread of its own: the caller's may have an event loop, running or not, that we must not touch.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
