"""Redis servers for tests."""

import os
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, Signals
from typing import Any
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


class OwnRedis:
    """A Redis that a single test controls; it keeps its port and its password when it is started again.

    Args:
        program: Path of `redis-server`.
        directory: Working directory.
        password: Password of the default user, and of the primary if this server becomes a replica.
        port: Port of 127.0.0.1.
    """

    def __init__(self, program: Path, directory: Path, *, password: str, port: int) -> None:
        self.url = f"redis://:{password}@127.0.0.1:{port}"
        self.port = port
        self._program = program
        self._directory = directory
        self._password = password
        self._process: Process | None = None

    def start(self, **settings: str) -> None:
        """Start the server, without persistence; `_` in the name of a setting stands for `-`.

        Raises:
            AssertionError: It did not start; the message contains its output.
        """
        lines = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": self._password,
            "masterauth": self._password,
            "dir": str(self._directory),
            "save": '""',
            "appendonly": "no",
            "databases": str(DATABASES),
        } | {name.replace("_", "-"): value for name, value in settings.items()}
        # In a file, because other users can read command lines.
        configuration = self._directory / "redis.conf"
        configuration.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        process = Process([str(self._program), str(configuration)], env=_ENVIRON, cwd=self._directory)
        process.wait_until_accepting("Redis")
        self._process = process

    def execute(self, *command: str | int) -> Any:
        """Send a command and return its reply."""
        with redis.Redis.from_url(self.url, decode_responses=True) as client:
            return client.execute_command(*command)

    def kill(self) -> None:
        """Kill the server at once; its data is lost."""
        self._signal(SIGKILL)
        self.close()

    def pause(self) -> None:
        """Suspend the server: the kernel accepts connections and data, and there is no response."""
        self._signal(SIGSTOP)

    def resume(self) -> None:
        """Continue a suspended server."""
        self._signal(SIGCONT)

    def close(self) -> None:
        """End the server in any state."""
        if self._process is not None:
            self.resume()
            self._process.close()
            self._process = None

    def _signal(self, signal: Signals) -> None:
        assert self._process is not None, "Redis is not running"
        with suppress(ProcessLookupError):
            os.kill(self._process.popen.pid, signal)


@contextmanager
def running_redis(*, password: str | None = None) -> Iterator[OwnRedis]:
    """Run a Redis on a free port of 127.0.0.1 until the block ends.

    Args:
        password: Password of the default user; random if `None`.

    Raises:
        AssertionError: There is no Redis, or it did not start; the message contains its output.
    """
    installation = find_redis()
    assert installation is not None, "Redis is neither installed nor available from a wheel"
    secret = password or secrets.token_hex(24)
    with temporary_directory("starkeel-redis-") as directory:

        def start(port: int) -> OwnRedis:
            # A node of a cluster also listens on the port 10,000 higher.
            port = min(port, port % 10_000 + 45_000)
            program = installation.programs / "redis-server"
            server = OwnRedis(program, directory, password=secret, port=port)
            server.start()
            return server

        with closing(on_free_port(start)) as server:
            yield server
