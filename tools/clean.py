"""Remove caches and builds; with `--data`, also the databases, keys and logs of development."""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from .registry import ROOT
from .workspace import running_ports

_CACHES = ("dist", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache")
_SOURCES = ("packages", "services", "tests", "tools", "benchmarks")
DATA = ".data"


def main() -> int:
    """Remove the folders and print their names; return 64 if `just dev` uses the data."""
    parser = argparse.ArgumentParser(prog="just clean", description=__doc__)
    parser.add_argument("--data", action="store_true", help="remove .data with its databases, too")
    parser.add_argument("--directory", type=Path, default=ROOT, help="the workspace (default: this one)")
    given = parser.parse_args()
    data = given.directory / DATA
    if given.data and running_ports(given.directory):
        sys.stderr.write(f"`just dev` uses the databases in {DATA}: stop it first; nothing is removed\n")
        return os.EX_USAGE
    databases = ", ".join(sorted(str(file.relative_to(given.directory)) for file in data.glob("*.db")))
    for folder in [*_caches(given.directory), *([data] if given.data and data.exists() else [])]:
        shutil.rmtree(folder)
        detail = f" with {databases}" if folder == data and databases else ""
        sys.stdout.write(f"removed {folder.relative_to(given.directory)}{detail}\n")
    if data.exists() and not given.data:
        sys.stdout.write(
            f"kept {DATA} with {databases or 'logs'}; remove it, too: uv run just clean --data\n"
        )
    return 0


def _caches(root: Path) -> Iterator[Path]:
    yield from (root / name for name in _CACHES if (root / name).is_dir())
    for source in _SOURCES:
        yield from sorted((root / source).rglob("__pycache__"))


if __name__ == "__main__":
    sys.exit(main())
