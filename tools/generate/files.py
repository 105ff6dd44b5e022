"""Write generated files, or check that they are current."""

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..workspace import ROOT


def parser(description: str | None) -> ArgumentParser:
    """Return a parser with the option `--check`."""
    made = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    made.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is stale")
    return made


def write(
    files: Mapping[Path, str], *, recipe: str, check: bool, root: Path = ROOT, obsolete: Iterable[Path] = ()
) -> int:
    """Write the files that differ, or report them; return the exit code.

    Args:
        files: Contents by path.
        recipe: Recipe of the justfile that writes them.
        check: Whether to report instead of writing.
        root: Folder that the paths are below.
        obsolete: Files that are not generated any more.
    """
    stale = [
        path for path, text in files.items() if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if check:
        stale += obsolete
        for path in stale:
            sys.stderr.write(f"{path.relative_to(root)} is stale: run `just {recipe}`\n")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
        sys.stdout.write(f"wrote {path.relative_to(root)}\n")
    for path in obsolete:
        path.unlink()
        sys.stdout.write(f"removed {path.relative_to(root)}\n")
    return 0
