"""The processes of one session, as the kernel knows them."""

import os
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Member:
    """A process of a session."""

    pid: int
    parent: int
    name: str
    is_zombie: bool


def members(leader: int) -> list[Member]:
    """Return the processes of the session and of the group that this one led, itself included.

    Without `/proc` the group as a whole is all that can be seen: its leader stands for every member.
    """
    if not (_PROC / "self" / "stat").exists():
        return [Member(leader, 0, "?", is_zombie=False)] if _group_exists(leader) else []
    found = (_member(entry, leader) for entry in _PROC.iterdir() if entry.name.isdigit())
    return [member for member in found if member is not None]


def _member(entry: Path, leader: int) -> Member | None:
    try:
        stat = (entry / "stat").read_text(errors="replace")
    except OSError:
        return None  # it has just ended
    # A name may hold blanks and brackets, so the fields are counted from its last bracket (proc(5)).
    head, _, tail = stat.rpartition(")")
    state, parent, group, session, *_ = tail.split()
    if str(leader) not in {group, session}:
        return None
    return Member(int(entry.name), int(parent), head.partition("(")[2], is_zombie=state == "Z")


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
