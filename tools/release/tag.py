"""Check that a tag is that of this tree's version, before anything of it is published.

python -m tools.release.tag v0.2.0 [--repository ADDRESS]    exit with 1 if it is not
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from ..generate.metadata import release_settings
from ..registry import ROOT
from .versions import last_released, projects, version_of


def main() -> int:
    """Print what differs; return 1 if anything does."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tag", help="the tag, such as v0.2.0")
    parser.add_argument("--repository", help="address of the repository that publishes")
    parser.add_argument("--root", type=Path, default=ROOT, help="the workspace (default: this repository)")
    given = parser.parse_args()
    found = [*_differences(given.root, given.tag, given.repository)]
    sys.stderr.writelines(f"{problem}\n" for problem in found)
    return 1 if found else 0


def _differences(root: Path, tag: str, repository: str | None) -> Iterator[str]:
    for path in projects(root):
        # A service that is made after a release begins with a version of its own.
        if path.is_relative_to(root / "services"):
            continue
        version = version_of(path)
        if tag != f"v{version}":
            yield f"{path.relative_to(root)}: version {version} is not that of {tag}: use `just release`"
    released = last_released(root)
    if tag != f"v{released}":
        yield f"CHANGELOG.md: the first section is that of version {released}, not of tag {tag}"
    configured = release_settings(root)["repository"]
    if repository is not None and configured.lower() != repository.lower():
        yield (
            f"pyproject.toml: [tool.starkeel-release]: repository: {configured!r} is not {repository}, which"
            " publishes: the links of the packages would lead elsewhere"
        )


if __name__ == "__main__":
    sys.exit(main())
