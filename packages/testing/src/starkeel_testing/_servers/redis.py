"""Redis for tests: a server of our own."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import redis

from .._process.process import Process
from .._process.temporary_directory import temporary_directory
from .._wait import unused_port, wait_until
from .installations import Installation

_ATTEMPTS = 3
_DATABASES = 16


@dataclass(frozen=True)
class RedisServer:
    """A running Redis.

    Attributes:
        url: Of the server.
        database: Number of the database that is ours.
        is_ours: Whether all of the server is.
    """

    url: str
    database: int = 0
    is_ours: bool = True

    def emptied(self) -> str:
        """Remove all our data and return the URL of our database."""
        url = urlunsplit(urlsplit(self.url)._replace(path=f"/{self.database}"))
        with redis.Redis.from_url(url) as client:
            if self.is_ours:
                client.flushall()
                client.script_flush()
            else:
                client.flushdb()
        return url


def given_redis(url: str, *, worker: int) -> RedisServer:
    """Use somebody's server: of its databases one for each test process, emptied before each test.

    Args:
        url: Of the server; a database in it is where counting begins.
        worker: Number of this test process.
    """
    first = urlsplit(url).path.strip("/")
    return RedisServer(url, database=(int(first or 0) + worker) % _DATABASES, is_ours=False)


@contextmanager
def redis_server_of(installation: Installation) -> Iterator[RedisServer]:
    """Run a Redis on a free port of 127.0.0.1 that keeps nothing, until the block ends.

    Raises:
        AssertionError: It does not start; the message holds what it said.
    """
    with temporary_directory("starkeel-redis-") as directory:
        password = secrets.token_hex(24)
        process, port = _served(installation.programs, directory, password)
        try:
            yield RedisServer(f"redis://:{password}@127.0.0.1:{port}")
        finally:
            process.close()


def _served(programs: Path, directory: Path, password: str) -> tuple[Process, int]:
    """Start the server; another port when somebody took ours in the meantime."""
    configuration = directory / "redis.conf"
    said = ""
    for _ in range(_ATTEMPTS):
        port = unused_port()
        # By file: a command line is there for everybody to read.
        configuration.write_text(
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {directory}\n"
            f'save ""\nappendonly no\ndatabases {_DATABASES}\n'
        )
        command = [str(programs / "redis-server"), str(configuration)]
        process = Process(command, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, cwd=directory)
        if _accepts(process):
            return process, port
        process.close()
        said = process.output.text()
    raise AssertionError(f"Redis does not start\n{said}")


def _accepts(process: Process) -> bool:
    wait_until(
        lambda: process.popen.poll() is not None or "eady to accept connections" in process.output.text(),
        what=lambda: f"Redis to start\n{process.output.text()}",
    )
    return process.popen.poll() is None
