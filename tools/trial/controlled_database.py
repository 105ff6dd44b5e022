"""A PostgreSQL that commands of `seatrial.toml` stop and start."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Client, Listener
from secrets import token_hex
from threading import Thread

from starkeel_testing import OwnPostgres, PostgresServer, running_postgres

_ACTIONS = ("stop", "start")


class ControlledDatabase:
    """A PostgreSQL with its control socket.

    Attributes:
        server: Creates databases.
    """

    def __init__(self, postgres: OwnPostgres, listener: Listener, key: str) -> None:
        self.server = PostgresServer(postgres.url)
        self._postgres = postgres
        self._listener = listener
        self._key = key
        Thread(target=self._serve, daemon=True).start()

    def command(self, action: str) -> list[str]:
        """Return the command that stops or starts the database and returns afterwards."""
        _, port = self._listener.address
        return [sys.executable, "-m", "tools.trial.controlled_database", action, str(port), self._key]

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                # Closed.
                return
            with connection:
                getattr(self._postgres, _ACTIONS[_ACTIONS.index(connection.recv())])()
                connection.send("done")


@contextmanager
def controlled_database() -> Iterator[ControlledDatabase]:
    """Run a PostgreSQL until the block ends.

    Raises:
        AssertionError: It did not start.
    """
    key = token_hex(16)
    with running_postgres() as postgres, Listener(("127.0.0.1", 0), authkey=key.encode()) as listener:
        yield ControlledDatabase(postgres, listener, key)


def main(action: str, port: str, key: str) -> int:
    """Have the running database stop or start; return the exit code."""
    with Client(("127.0.0.1", int(port)), authkey=key.encode()) as connection:
        connection.send(action)
        return 0 if connection.recv() == "done" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
