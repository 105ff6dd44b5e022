"""The commands of git that a release needs."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

UV: Final = os.environ.get("UV", "uv")
"""The uv that runs this process, which need not be on the path."""


class ReleaseError(Exception):
    """The release was not made; the message has the reasons and the solutions."""


def run(command: Sequence[str], *, cwd: Path) -> str:
    """Run a command in a work tree and return its output.

    Raises:
        ReleaseError: It failed; the message has its output.
    """
    # Another tree's environment must not be used, nor changed.
    left_out = {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH"}
    environ = {name: value for name, value in os.environ.items() if name not in left_out}
    done = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        shown = " ".join([Path(command[0]).name, *command[1:]])
        raise ReleaseError(f"`{shown}` failed:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


class Git:
    """A repository."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, *arguments: str) -> str:
        """Run a command and return its output without the last line break."""
        return run(["git", *arguments], cwd=self.root).rstrip("\n")

    def branch(self) -> str:
        """Return the branch that is checked out; empty for a detached HEAD."""
        return self("branch", "--show-current")

    def publish_locally(self, commit: str, *, tag: str) -> None:
        """Tag a commit and move the branch to it, both or none.

        Raises:
            ReleaseError: One of them failed, such as for a tag that could not be signed.
        """
        self("tag", "--annotate", "--message", f"Version {tag.removeprefix('v')}", tag, commit)
        try:
            self("merge", "--quiet", "--ff-only", commit)
        except ReleaseError:
            self("tag", "--delete", tag)
            raise
