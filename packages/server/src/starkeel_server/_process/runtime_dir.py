"""Private directory of a running service, for shared memory, sockets and metrics files."""

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from .._config.exit_codes import StartError
from .._config.service import ENVIRON

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - created with mkdtemp


class RuntimeDirectory:
    """A new private directory; creating it removes directories left by killed processes.

    `/dev/shm` is preferred: it exists in containers with a read-only file system, and writes to it never wait
    for a disk.

    Raises:
        StartError: No directory can be created.
    """

    def __init__(self, service: str) -> None:
        parent = _SHARED_MEMORY if "TMPDIR" not in ENVIRON and os.access(_SHARED_MEMORY, os.W_OK) else None
        prefix = f"starkeel-{service}-"
        try:
            self.path = _create(prefix, parent)
            self.scoreboard = self.path / "scoreboard"
            self.metrics = self.path / "metrics"
            self.metrics.mkdir()
        except OSError as error:
            raise StartError(
                f"no temporary directory can be created: {error}; set TMPDIR to a writable directory"
            ) from error
        for other in self.path.parent.glob(f"{prefix}*"):
            _remove_if_stale(other)

    def remove(self) -> None:
        """Remove the directory and its content; may be called again."""
        shutil.rmtree(self.path, ignore_errors=True)


def share_metrics(directory: Path) -> None:
    """Keep the metrics of this process in files in a directory.

    To be called before the first import of `prometheus_client`, which decides whether it shares values.
    """
    ENVIRON["PROMETHEUS_MULTIPROC_DIR"] = str(directory)


def lock(directory: Path) -> None:
    """Lock a directory until this process ends, so that starting processes do not remove it.

    Raises:
        FileNotFoundError: Another process has removed it already.
    """
    # Never closed: the kernel releases the lock when the process ends for any reason.
    descriptor = os.open(directory, os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    directory.stat()


def _create(prefix: str, parent: Path | None) -> Path:
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # A process starting at the same time may remove it before it is locked.
        with suppress(FileNotFoundError):
            lock(path)
            return path


def _remove_if_stale(directory: Path) -> None:
    # It may be in use, belong to another user, or be removed already.
    with suppress(OSError):
        descriptor = os.open(directory, os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            is_ours = os.fstat(descriptor).st_uid == os.geteuid() and (directory / "metrics").is_dir()
            if is_ours:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(directory)
        finally:
            os.close(descriptor)
