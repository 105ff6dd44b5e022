"""Who a server runs as: PostgreSQL refuses root."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ORDINARY = ("postgres", "nobody")


@dataclass(frozen=True)
class Account:
    """A user that a program is started as; by default ourselves."""

    uid: int | None = None
    gid: int | None = None

    @property
    def popen(self) -> dict[str, Any]:
        """Arguments for `subprocess`."""
        if self.uid is None:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def owns(self, directory: Path) -> None:
        """Give it a directory with all that is in it."""
        if self.uid is None or self.gid is None:
            return
        for parent, directories, files in os.walk(directory):
            for path in (parent, *(os.path.join(parent, name) for name in (*directories, *files))):
                os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def can_enter(self, directory: Path) -> bool:
        """Tell whether it may enter a directory."""
        return self.runs("/bin/sh", "-c", 'cd "$0"', str(directory))

    def runs(self, *command: str) -> bool:
        """Tell whether a short command succeeds for it."""
        try:
            done = subprocess.run(
                command, cwd="/", capture_output=True, timeout=30, check=False, **self.popen
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0


def ordinary_account() -> Account:
    """Return ourselves, or some ordinary user when we are root."""
    if os.geteuid() != 0:
        return Account()
    for name in _ORDINARY:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    # An identity needs no name: this is `nobody` nearly everywhere.
    return Account(65534, 65534)
