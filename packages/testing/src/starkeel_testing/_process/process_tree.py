"""Processes by session, group and parent, from `/proc`."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessInfo:
    """One process of the system."""

    pid: int
    name: str
    parent: int
    group: int
    session: int
    is_zombie: bool


def processes() -> Iterator[ProcessInfo]:
    """Return all processes."""
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text(errors="replace")
        except OSError:
            continue  # it has ended meanwhile
        # A name may contain blanks and brackets, so the fields are counted from its last bracket (proc(5)).
        head, _, tail = stat.rpartition(")")
        state, parent, group, session, *_ = tail.split()
        name = head.partition("(")[2]
        yield ProcessInfo(int(entry.name), name, int(parent), int(group), int(session), state == "Z")


def session_processes(leader: int) -> list[ProcessInfo]:
    """Return the processes of a leader's session and group, including the leader.

    Without `/proc` the result is the leader alone if any process of its group exists.
    """
    if (_PROC / "self" / "stat").exists():
        return [process for process in processes() if leader in {process.group, process.session}]
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return []
    except PermissionError:
        pass
    return [ProcessInfo(leader, "?", 0, leader, leader, is_zombie=False)]
