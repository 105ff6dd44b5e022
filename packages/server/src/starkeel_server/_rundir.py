"""A directory for the life of one main process: shared memory and metrics files."""

import os
import shutil
import tempfile
from pathlib import Path

from ._environ import ENVIRON
from ._exits import StartError

_MEMORY = Path("/dev/shm")  # noqa: S108 - what is made there is made by mkdtemp


class RunDirectory:
    """A fresh private directory.

    In memory where there is such a place: it is there in containers whose file system is read-only, and what
    is written to it never waits for a disk.

    Args:
        service: Name of the service, a part of the directory's.

    Raises:
        StartError: When no directory can be made.
    """

    def __init__(self, service: str) -> None:
        parent = _MEMORY if "TMPDIR" not in ENVIRON and os.access(_MEMORY, os.W_OK) else None
        try:
            self.path = Path(tempfile.mkdtemp(prefix=f"starkeel-{service}-", dir=parent))
        except OSError as error:
            raise StartError(
                f"no temporary directory can be made: {error}; set TMPDIR to a writable one"
            ) from error
        self.board = self.path / "board"
        self.metrics = self.path / "metrics"
        self.metrics.mkdir()

    def remove(self) -> None:
        """Remove it with all that is in it; doing so again is no mistake."""
        shutil.rmtree(self.path, ignore_errors=True)
