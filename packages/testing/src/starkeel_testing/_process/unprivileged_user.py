"""User that server programs run as: PostgreSQL refuses to run as root."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True)
class UnixUser:
    """User for starting programs; by default the current one."""

    uid: int | None = None
    gid: int | None = None

    @property
    def popen_arguments(self) -> dict[str, Any]:
        """Keyword arguments for `subprocess`."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def chown(self, directory: Path) -> None:
        """Make this user the owner of a directory and everything in it."""
        if self.uid is None or self.gid is None:
            return
        for parent, directories, files in os.walk(directory):
            for path in (parent, *(os.path.join(parent, name) for name in (*directories, *files))):
                os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can_run(self, *command: str) -> bool:
        """Run a short command as this user and return whether it succeeded."""
        try:
            done = subprocess.run(
                command, cwd="/", capture_output=True, timeout=30, check=False, **self.popen_arguments
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0


def unprivileged_user() -> UnixUser:
    """Return the current user, or `postgres` or `nobody` when that is root."""
    if os.geteuid() != 0:
        return UnixUser()
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return UnixUser(entry.pw_uid, entry.pw_gid)
    # A user id needs no entry in the user database; this one is `nobody` on most systems.
    return UnixUser(65534, 65534)
