"""Build the packages for an index, each in a folder of its own; services are not built.

python -m tools.release.build dist    print `packages=[...]`, the output of a step of a workflow
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

from ..generate.metadata import PRIVATE, release_settings
from ..registry import ROOT
from .git import UV, ReleaseError, run

# Code is matched first, and kept.
_RELATIVE_LINK = re.compile(r"```.*?```|`[^`\n]*`|\]\((?!https?://|mailto:|#)([^)\s]+)\)", re.DOTALL)


def main() -> int:
    """Build the packages and print their names; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder for the folders of the packages")
    parser.add_argument("--root", type=Path, default=ROOT, help="the workspace (default: this repository)")
    given = parser.parse_args()
    try:
        names = _build(given.root, given.folder.resolve())
    except ReleaseError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"packages={json.dumps(names)}\n")
    return 0


def _build(root: Path, folder: Path) -> list[str]:
    """Build a source distribution of each package, and the wheel from it; return the names."""
    names = []
    for path in sorted(root.glob("packages/*/pyproject.toml")):
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        if PRIVATE in project.get("classifiers", []):
            raise ReleaseError(f"{path.relative_to(root)}: has the classifier of services: {PRIVATE}")
        with tempfile.TemporaryDirectory() as directory:
            copy = Path(shutil.copytree(path.parent, Path(directory) / path.parent.name))
            _make_links_absolute(copy / "README.md", path.parent, root, project["version"])
            build = [UV, "build", "--quiet", "--no-sources", "--no-create-gitignore", "--out-dir"]
            run([*build, str(folder / project["name"]), str(copy)], cwd=copy)
        names.append(project["name"])
    return names


def _make_links_absolute(readme: Path, directory: Path, root: Path, version: str) -> None:
    """Let links to files of the repository lead there: an index has only the page."""
    repository = release_settings(root)["repository"]

    def absolute(link: re.Match[str]) -> str:
        if link[1] is None:
            return link[0]
        path, mark, fragment = link[1].partition("#")
        target = (directory / path).resolve().relative_to(root.resolve()).as_posix()
        return f"]({repository}/blob/v{version}/{target}{mark}{fragment})"

    text = readme.read_text("utf-8")
    readme.write_text(_RELATIVE_LINK.sub(absolute, text) if repository else text, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
