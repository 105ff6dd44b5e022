"""Processes of a service, as `/proc` lists them."""

import contextlib
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

MARK = "SEATRIAL_DRILL"
"""Variable that all processes of an instance inherit, so that none is left behind."""
_PROC = Path("/proc")
_ESTABLISHED = "01"
_NO_SESSION = -1


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def of_instance(token: str, session: int) -> list[int]:
    """Return the processes that have inherited a mark, or are in a session.

    Programs that change their title overwrite their environment, and daemons leave the session.

    Args:
        token: Value of the mark.
        session: Process that began the session.
    """
    return [pid for pid in _pids() if _is_of_instance(pid, f"{MARK}={token}".encode(), session)]


def _is_of_instance(pid: int, mark: bytes, session: int) -> bool:
    # Processes end while they are listed, and those of other users cannot be read.
    with contextlib.suppress(OSError):
        status = _status(pid)
        if int(status[3]) == session:
            return status[0] not in "ZX"
        return mark in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    return False


def kill_all(pids: list[int]) -> None:
    """Kill processes; those that have ended are left out."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def are_killed(tokens: Iterable[str]) -> bool:
    """Kill the processes with these marks; return whether none is left."""
    left = [pid for token in tokens for pid in of_instance(token, _NO_SESSION)]
    kill_all(left)
    return not left


def is_running(pid: int) -> bool:
    """Return whether a process exists and is no zombie."""
    try:
        return _status(pid)[0] not in "ZX"
    except OSError:
        return False


def parent(pid: int) -> int:
    """Return the parent of a process; raises OSError without the process."""
    return int(_status(pid)[1])


def _status(pid: int) -> list[str]:
    # The name of the program, in parentheses, may contain spaces.
    return (_PROC / str(pid) / "stat").read_text("latin-1").rpartition(")")[2].split()


def children(pid: int) -> list[int]:
    """Return the running children of a process."""
    found = []
    for other in _pids():
        with contextlib.suppress(OSError):
            if parent(other) == pid and is_running(other):
                found.append(other)
    return found


def holder(pids: list[int], *, server_port: int, client_port: int) -> int | None:
    """Return the process that holds the server's side of a connection, or None.

    Args:
        pids: Processes that are searched.
        server_port: Port of the service.
        client_port: Port of the client.
    """
    inode = _inode(server_port, client_port)
    if inode is None:
        return None
    for pid in pids:
        with contextlib.suppress(OSError):
            for descriptor in (_PROC / str(pid) / "fd").iterdir():
                if os.readlink(descriptor) == f"socket:[{inode}]":
                    return pid
    return None


def _inode(server_port: int, client_port: int) -> str | None:
    for table in ("tcp", "tcp6"):
        for line in (_PROC / "net" / table).read_text().splitlines()[1:]:
            fields = line.split()
            ports = [int(address.rpartition(":")[2], 16) for address in fields[1:3]]
            if ports == [server_port, client_port] and fields[3] == _ESTABLISHED:
                return fields[9]
    return None
