"""Temporary directories that are removed even if the test process is killed."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .reaper import REAPER
from .unprivileged_user import UnixUser


@contextmanager
def temporary_directory(prefix: str, *, owner: UnixUser | None = None) -> Iterator[Path]:
    """Create a private directory and remove it at the end of the block.

    Args:
        prefix: Start of its name.
        owner: Defaults to the current user. Other users cannot enter pytest's own temporary directories,
            so the directory is created in one that the owner can enter.

    Raises:
        FileNotFoundError: The owner cannot enter any temporary directory of this machine.
    """
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=_parent_for(owner) if owner else None))
    REAPER.watch_directory(path)
    try:
        if owner:
            owner.chown(path)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        REAPER.forget(path)


def _parent_for(owner: UnixUser) -> Path:
    for parent in map(Path, (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm")):
        if parent.is_dir() and owner.can_run("/bin/sh", "-c", 'cd "$0"', str(parent)):
            return parent
    raise FileNotFoundError(
        "an unprivileged user cannot enter any temporary directory; set TMPDIR to one that it can enter"
    )
