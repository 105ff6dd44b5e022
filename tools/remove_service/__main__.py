"""Remove a service, with everything that is generated for it; all or nothing.

Its development data in .data is listed and kept. Files that are in no commit are moved to .data/removed.
"""

import argparse
import os
import subprocess
import sys

from ..registry import ROOT, RegistryError
from ..workspace import running_ports
from .changes import apply, keep, planned
from .checks import Refusal, development_data, mentions, removed_paths, uncommitted

_MOST_LISTED = 5


def main() -> int:
    """Remove the service; return the exit code."""
    parser = argparse.ArgumentParser(prog="just remove-service", description=__doc__)
    parser.add_argument("name", help="name of the service")
    parser.add_argument("--force", action="store_true", help="even if its files have uncommitted changes")
    given = parser.parse_args()
    try:
        _remove(given.name, is_forced=given.force)
    except (Refusal, RegistryError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"nothing was changed: {error}\n")
        return os.EX_IOERR
    return 0


def _remove(name: str, *, is_forced: bool) -> None:
    removed = removed_paths(ROOT, name)
    if running_ports(ROOT):
        raise Refusal("`just dev` runs the services of this workspace: stop it first; nothing is removed")
    unsaved = uncommitted(ROOT, name, removed, is_forced=is_forced)
    _write(f"removing {name}: generating files and uv.lock without it")
    changes = planned(ROOT, name, removed)
    kept = apply(ROOT, changes, removed)
    if folder := keep(ROOT, name, kept, unsaved):
        _write(f"moved {len(unsaved)} files that are in no commit to {folder.relative_to(ROOT)}")
    for path in sorted(changes):
        if path not in removed and not any(path.is_relative_to(each) for each in removed):
            _write(f"{'removed' if changes[path] is None else 'wrote'} {path.relative_to(ROOT)}")
    for path in removed:
        _write(f"removed {path.relative_to(ROOT)}")
    # `uv run` would leave the package installed.
    if subprocess.run(["uv", "sync", "--frozen", "--quiet"], cwd=ROOT, check=False).returncode:
        _write(f"{name} is still installed: run `uv sync --frozen`")
    if data := development_data(ROOT, name):
        listed = " ".join(str(path.relative_to(ROOT)) for path in data)
        _write(f"kept its development data; to delete it: rm -rf {listed}")
    _list_mentions(name)


def _list_mentions(name: str) -> None:
    """List what refers to a removed service, for a person to decide."""
    found = mentions(ROOT, name)
    if found.references:
        _write("code and configuration that still refer to it:")
        for file, lines in found.references.items():
            _write(f"  {file}: line {_listed(list(map(str, lines)))}")
    if found.pages:
        _write(f"documentation that has its name: {_listed(found.pages)}")
    if found.references or found.pages:
        _write(f"all lines with the word: git grep -nw {name}")


def _listed(entries: list[str]) -> str:
    more = len(entries) - _MOST_LISTED
    return ", ".join(entries[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
