"""The tree of a release, changed in a temporary work tree."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from .fragments import fragments, rendered
from .git import UV, Git, run
from .versions import Version, add_section, set_versions

_PYTHON = (UV, "run", "--quiet", "--frozen", "python", "-m")


class ChangedTree:
    """A work tree with the changes of a release, not committed.

    Attributes:
        section: The section of the changelog.
    """

    def __init__(self, git: Git, version: Version, section: str) -> None:
        self._git = git
        self._version = version
        self.section = section

    def summary(self) -> str:
        """Return the changed files and the numbers of their lines."""
        self._git("add", "--all")
        return self._git("diff", "--cached", "--stat")

    def commit(self) -> str:
        """Commit the changes and return the commit."""
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", f"Release {self._version}")
        return self._git("rev-parse", "HEAD")


@contextmanager
def changed_tree(git: Git, version: Version) -> Iterator[ChangedTree]:
    """Check out HEAD in a temporary work tree, change it to the release, and remove it afterwards.

    Raises:
        ReleaseError: A command or a check failed.
    """
    with tempfile.TemporaryDirectory(prefix="release-") as directory:
        root = Path(directory) / "tree"
        git("worktree", "add", "--quiet", "--detach", str(root))
        try:
            yield ChangedTree(Git(root), version, _change(root, version))
        finally:
            git("worktree", "remove", "--force", str(root))


def _change(root: Path, version: Version) -> str:
    """Make the changes and return the section of the changelog."""
    set_versions(root, version)
    run([UV, "lock", "--quiet"], cwd=root)
    run([UV, "sync", "--quiet", "--frozen"], cwd=root)
    run([*_PYTHON, "tools.generate"], cwd=root)
    # While the fragments that describe breaking changes exist.
    run([*_PYTHON, "tools.checks.public_api", "--release"], cwd=root)
    run([*_PYTHON, "tools.checks.api_compatibility", "--release"], cwd=root)
    found = fragments(root)
    date = datetime.now(tz=UTC).date().isoformat()
    section = rendered(found)
    add_section(root, version, date, section)
    for fragment in found:
        fragment.path.unlink()
    return f"## {version} - {date}\n\n{section}"
