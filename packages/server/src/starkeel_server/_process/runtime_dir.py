"""A directory for the life of one main process: shared memory and metrics files."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from .._config.exit_codes import StartError
from .._config.service import ENVIRON

_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made there is made by mkdtemp


class RuntimeDirectory:
    """A fresh private directory; those that killed processes left beside it are removed.

    In memory where there is such a place: it is there in containers whose file system is read-only, and what
    is written to it never waits for a disk.

    Args:
        service: Name of the service, a part of the directory's.

    Raises:
        StartError: When no directory can be made.
    """

    def __init__(self, service: str) -> None:
        parent = _MEMORY if "TMPDIR" not in ENVIRON and os.access(_MEMORY, os.W_OK) else None
        prefix = f"starkeel-{service}-"
        try:
            self.path = _made(prefix, parent)
            self.scoreboard = self.path / "scoreboard"
            self.metrics = self.path / "metrics"
            self.metrics.mkdir()
        except OSError as error:
            raise StartError(
                f"no temporary directory can be made: {error}; set TMPDIR to a writable one"
            ) from error
        for other in self.path.parent.glob(f"{prefix}*"):
            _remove_if_left(other)

    def remove(self) -> None:
        """Remove it with all that is in it; doing so again is no mistake."""
        shutil.rmtree(self.path, ignore_errors=True)


def hold(directory: Path) -> None:
    """Keep a directory from being taken for one that was left, as long as this process lives.

    Args:
        directory: One that is held by another process, or was made a moment ago.

    Raises:
        FileNotFoundError: It was taken for one.
    """
    # Never closed: the kernel lets go of it when the process ends, however that comes.
    descriptor = os.open(directory, os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    directory.stat()


def _made(prefix: str, parent: Path | None) -> Path:
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # Another process that starts at this moment may find it before it is held.
        with suppress(FileNotFoundError):
            hold(path)
            return path


def _remove_if_left(directory: Path) -> None:
    # Whatever cannot be opened or is held is somebody's; it may be gone, too.
    with suppress(OSError):
        descriptor = os.open(directory, os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            is_ours = os.fstat(descriptor).st_uid == os.geteuid() and (directory / "metrics").is_dir()
            if is_ours:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory)
        finally:
            os.close(descriptor)
