"""Write generated files, or check them.

python -m tools.generate                   write all
python -m tools.generate openapi           write those of `just openapi`
python -m tools.generate [NAME] --check    exit with 1 if a file is stale
python -m tools.generate fleet --force     write it and discard edits of generated files
"""

import argparse
import os
import sys
from pathlib import Path

from ..registry import ROOT, RegistryError
from ..service_error import ServiceError
from . import (
    adoption,
    checklist,
    clients,
    configuration,
    kubernetes,
    metadata,
    monitoring,
    openapi,
    package_settings,
    problem_types,
    public_api,
    reference,
    regions,
    services_page,
)
from .stamp import is_edited, is_stamped
from .writing import write


def _api(root: Path) -> dict[Path, str | None]:
    return openapi.files(root) | problem_types.files(root)


def _fleet(root: Path) -> dict[Path, str | None]:
    return regions.files(root) | kubernetes.files(root) | services_page.files(root)


def _guides(root: Path) -> dict[Path, str | None]:
    return adoption.files(root) | package_settings.files(root)


def _reference(root: Path) -> dict[Path, str | None]:
    return configuration.files(root) | reference.files(root)


GENERATORS = {
    "reference": _reference,
    "openapi": _api,
    "clients": clients.files,
    "dashboards": monitoring.files,
    "fleet": _fleet,
    "metadata": metadata.files,
    "api": public_api.files,
    "guides": _guides,
    "checklist": checklist.files,
}
"""By the name of their recipe: the files' contents, and `None` for a file that must not exist.

Clients are generated from the OpenAPI documents, and so after them.
"""


def main() -> int:
    """Write or check the files; return the exit code."""
    given = _options()
    try:
        return _generate(given)
    except (RegistryError, ServiceError) as error:
        sys.stderr.write(f"{error}\n")
        return os.EX_CONFIG


def _generate(given: argparse.Namespace) -> int:
    is_current = True
    for name in [given.name] if given.name else GENERATORS:
        if not given.check and sys.stderr.isatty():
            sys.stderr.write(f"generating what `just {name}` writes ...\n")
        changes = {
            path: text
            for path, text in GENERATORS[name](given.root).items()
            if text != (path.read_text("utf-8") if path.exists() else None)
        }
        edited = [path for path, text in changes.items() if not given.force and _is_edited(path, text)]
        for path in edited:
            sys.stderr.write(
                f"{path.relative_to(given.root)} has changes that generation would discard{_where(path)}:"
                f" move them (docs/fleet.md), then run `just {name} --force`\n"
            )
        if given.check:
            for path in changes.keys() - set(edited):
                sys.stderr.write(f"{path.relative_to(given.root)} is stale: run `just {name}`\n")
        is_current = is_current and not changes
        if edited and not given.check:
            return os.EX_DATAERR
        if not given.check:
            for line in write(changes, given.root):
                sys.stdout.write(f"{line}\n")
    return 0 if is_current or not given.check else 1


def _is_edited(path: Path, text: str | None) -> bool:
    """Return whether a person has edited what generation writes; a merge of two branches is an edit, too."""
    if text is None or not path.exists():
        return False
    given = path.read_text("utf-8")
    return is_edited(given) if is_stamped(text) else bool(regions.edited_regions(given))


def _where(path: Path) -> str:
    names = regions.edited_regions(path.read_text("utf-8"))
    return f", in the part {' and '.join(map(repr, names))}" if names else ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.generate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", choices=GENERATORS, help="what to write (default: everything)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is stale")
    parser.add_argument("--force", action="store_true", help="discard changes by hand of generated files")
    parser.add_argument("--root", type=Path, default=ROOT, help="the workspace (default: this repository)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
