"""Make a release: the commit and the tag. Nothing is pushed.

python -m tools.release 0.2.0              commit and tag version 0.2.0
python -m tools.release 0.2.0 --dry-run    print the section of the changelog and the changed files

Everything is done in a temporary work tree, so that a release that fails leaves nothing behind.
"""

import argparse
import sys
from pathlib import Path

from ..registry import ROOT
from .git import Git, ReleaseError
from .prepare import changed_tree
from .refusals import refusals
from .versions import Version


def main() -> int:
    """Make the release; return the exit code."""
    given = _options()
    try:
        sys.stdout.write(_release(Git(given.root), given.version, is_dry_run=given.dry_run))
    except ReleaseError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _release(git: Git, version: Version, *, is_dry_run: bool) -> str:
    """Make the release, or none of it; return what to print."""
    if found := [*refusals(git.root, git, version)]:
        raise ReleaseError("\n".join(found))
    with changed_tree(git, version) as tree:
        if is_dry_run:
            return (
                f"{tree.section}\n{tree.summary()}\nNothing is changed: `just release {version}` does this.\n"
            )
        commit = tree.commit()
        git.publish_locally(commit, tag=f"v{version}")
    return _NEXT.format(version=version, commit=commit[:12], branch=git.branch())


_NEXT = """\
Commit {commit} and tag v{version} are made, and nothing is pushed.

  git show --stat v{version}                       # review it
  git push --atomic origin {branch} v{version}       # CI, then the upload of packages and images
  git tag -d v{version} && git reset --keep HEAD~1  # or undo it
"""


def _version(text: str) -> Version:
    try:
        return Version.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="just release", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("version", type=_version, help="the new version of all packages: MAJOR.MINOR.PATCH")
    parser.add_argument("--dry-run", action="store_true", help="change nothing; print what would be released")
    parser.add_argument("--root", type=Path, default=ROOT, help="the workspace (default: this repository)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
