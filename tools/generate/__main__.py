"""Write generated files, or check them.

python -m tools.generate                   write all
python -m tools.generate openapi           write those of `just openapi`
python -m tools.generate [NAME] --check    exit with 1 if a file is stale
"""

import argparse
import os
import sys
from pathlib import Path

from ..registry import ROOT, RegistryError
from . import clients, configuration, dashboards, openapi, problem_types, prometheus_rule, regions


def _api(root: Path) -> dict[Path, str | None]:
    return openapi.files(root) | problem_types.files(root)


def _monitoring(root: Path) -> dict[Path, str | None]:
    return dashboards.files(root) | prometheus_rule.files(root)


GENERATORS = {
    "reference": configuration.files,
    "openapi": _api,
    "clients": clients.files,
    "dashboards": _monitoring,
    "fleet": regions.files,
}
"""By the name of their recipe: the files' contents, and `None` for a file that must not exist.

Clients are generated from the OpenAPI documents, and so after them.
"""


def main() -> int:
    """Write or check the files; return the exit code."""
    given = _options()
    try:
        return _generate(given)
    except RegistryError as error:
        sys.stderr.write(f"{error}\n")
        return os.EX_CONFIG


def _generate(given: argparse.Namespace) -> int:
    is_current = True
    for name in [given.name] if given.name else GENERATORS:
        for path, text in GENERATORS[name](given.root).items():
            if text == (path.read_text("utf-8") if path.exists() else None):
                continue
            is_current = False
            if given.check:
                sys.stderr.write(f"{path.relative_to(given.root)} is stale: run `just {name}`\n")
            else:
                _write(path, text)
                sys.stdout.write(f"{'removed' if text is None else 'wrote'} {path.relative_to(given.root)}\n")
    return 0 if is_current or not given.check else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", choices=GENERATORS, help="what to write (default: everything)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a file is stale")
    parser.add_argument("--root", type=Path, default=ROOT, help="the workspace (default: this repository)")
    return parser.parse_args()


def _write(path: Path, text: str | None) -> None:
    if text is None:
        path.unlink()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
