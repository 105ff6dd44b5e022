"""Temporary directories that are removed whatever happens."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .reaper import JANITOR
from .unprivileged_user import Account


@contextmanager
def temporary_directory(prefix: str, *, owner: Account | None = None) -> Iterator[Path]:
    """Make a private directory and remove it at the end.

    Args:
        prefix: What its name starts with.
        owner: Whose it is; ours by default. pytest's own temporary directories are closed to other users,
            so one for another user is made where that user can reach it.

    Raises:
        FileNotFoundError: The owner can enter no temporary directory of this machine.
    """
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=_place(owner) if owner else None))
    JANITOR.watch_directory(path)
    try:
        if owner:
            owner.owns(path)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        JANITOR.forget_directory(path)


def _place(owner: Account) -> Path:
    for place in map(Path, (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm")):
        if place.is_dir() and owner.can_enter(place):
            return place
    raise FileNotFoundError(
        "there is no temporary directory that an ordinary user can enter; set TMPDIR to one"
    )
