"""A PostgreSQL of one test's own, that may be stopped, killed, paused and started again."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP, Signals

from .._process.process import Process
from .._process.temporary_directory import temporary_directory
from .._process.unprivileged_user import Account, ordinary_account
from .._wait import unused_port
from .installations import find_postgres
from .postgres import SETTINGS, accepts, initialised, served_at

_STOP_S = 30.0


class OwnPostgres:
    """A PostgreSQL that a test may do anything to; it keeps its port and its data.

    Attributes:
        url: Of the database `postgres`, as the superuser.
    """

    def __init__(self, programs: Path, data: Path, account: Account, *, password: str) -> None:
        self._programs = programs
        self._data = data
        self._account = account
        self._port = unused_port()
        self._process: Process | None = None
        self._ended: list[Process] = []
        self.url = f"postgresql://postgres:{password}@127.0.0.1:{self._port}/postgres"

    def start(self, **settings: str) -> None:
        """Start it, with settings over those of every test's server.

        Raises:
            AssertionError: It does not start; the message holds what it said.
        """
        process = served_at(self._port, self._programs, self._data, self._account, SETTINGS | settings)
        self._process = process
        assert accepts(process), process.output.text()

    def stop(self) -> None:
        """Stop it as an operator would who does not wait for clients."""
        self._running().terminate(_STOP_S)
        self._bury()

    def kill(self) -> None:
        """Kill all of it at once, as a power cut would."""
        self._signal(SIGKILL)
        self._running().wait(_STOP_S)
        self._bury()

    def pause(self) -> None:
        """Have it accept connections and bytes, and answer nothing."""
        self._signal(SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        self._signal(SIGCONT)

    def said(self) -> str:
        """Return what it has said since it was last started, its log."""
        return self._running().output.text()

    def close(self) -> None:
        """End it, in whatever state it is."""
        if self._process is not None:
            self.resume()
            self._bury()
        for process in self._ended:
            process.close()

    def _running(self) -> Process:
        assert self._process is not None, "it is not running"
        return self._process

    def _bury(self) -> None:
        self._running().close()
        self._ended.append(self._running())
        self._process = None

    def _signal(self, signal: Signals) -> None:
        leader = self._running().popen.pid
        # Its children lead sessions of their own.
        for pid in [leader, *_children(leader)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal)


@contextmanager
def running_postgres() -> Iterator[OwnPostgres]:
    """Make a PostgreSQL and start it; ended with the block.

    Raises:
        AssertionError: There is none, or it does not start.
    """
    installation = find_postgres()
    assert installation is not None, "PostgreSQL is neither installed nor there as a wheel"
    account = ordinary_account()
    with temporary_directory("starkeel-postgres-", owner=account) as directory:
        programs = installation.reachable("postgres", account, directory / "programs")
        password = secrets.token_urlsafe(24)
        data = initialised(programs, directory, password=password, account=account)
        server = OwnPostgres(programs, data, account, password=password)
        try:
            server.start()
            yield server
        finally:
            server.close()


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError, IndexError, ValueError):
            # A name may hold blanks and brackets (proc(5)).
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.name))
    return found
