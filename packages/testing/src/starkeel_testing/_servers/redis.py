"""Redis servers for tests."""

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import redis

from .._process.process import Process
from .._process.temporary_directory import temporary_directory
from .._wait import on_free_port
from .installations import find_redis

DATABASES = 16
_ENVIRON = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}


@dataclass(frozen=True)
class RedisServer:
    """A running Redis.

    Attributes:
        database: Number of the database for tests.
        is_exclusive: Whether the whole server belongs to the tests.
    """

    url: str
    database: int = 0
    is_exclusive: bool = True

    def flush(self) -> str:
        """Delete all data of the tests and return the URL of the database."""
        url = urlunsplit(urlsplit(self.url)._replace(path=f"/{self.database}"))
        with redis.Redis.from_url(url) as client:
            if self.is_exclusive:
                client.flushall()
                client.script_flush()
            else:
                client.flushdb()
        return url


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """Run a Redis without persistence on a free port of 127.0.0.1 until the block ends.

    Raises:
        AssertionError: There is no Redis, or it did not start; the message contains its output.
    """
    installation = find_redis()
    assert installation is not None, "Redis is neither installed nor available from a wheel"
    with temporary_directory("starkeel-redis-") as directory:
        password = secrets.token_hex(24)
        configuration = directory / "redis.conf"

        def start(port: int) -> tuple[Process, int]:
            # In a file, because other users can read command lines.
            configuration.write_text(
                f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {directory}\n"
                f'save ""\nappendonly no\ndatabases {DATABASES}\n'
            )
            command = [str(installation.programs / "redis-server"), str(configuration)]
            process = Process(command, env=_ENVIRON, cwd=directory)
            process.wait_until_accepting("Redis")
            return process, port

        process, port = on_free_port(start)
        with closing(process):
            yield RedisServer(f"redis://:{password}@127.0.0.1:{port}")
