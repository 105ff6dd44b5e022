"""Write `docs/configuration.md` and `.env.example` from the settings of every service, or check them.

python -m tools.generate.configuration           write them
python -m tools.generate.configuration --check   exit with 1 when one is stale, and name it
"""

import argparse
import sys
from importlib import import_module
from pathlib import Path

from starkeel_config import Reference, Settings, reference, render_env_example, render_markdown

from ..workspace import ROOT


def services(root: Path) -> list[str]:
    """The services of a workspace: each folder has its package, which has its settings."""
    found = sorted(path.parent.name for path in root.glob("services/*/src/*/settings.py"))
    if not found:
        raise SystemExit("no service has a settings.py below services/*/src/*/")
    return found


def reference_of(service: str) -> Reference:
    """The variables of one service.

    Raises:
        SystemExit: When it has no settings class, or a variable without a description.
    """
    struct = getattr(import_module(f"{service}.settings"), "Settings", None)
    if not (isinstance(struct, type) and issubclass(struct, Settings)):
        raise SystemExit(f"{service}.settings has no class Settings based on starkeel_config.Settings")
    found = reference(struct, service=service)
    if found.undocumented():
        names = ", ".join(found.undocumented())
        raise SystemExit(f"{service}: describe these by a string below their fields: {names}")
    return found


def is_stale(path: Path, text: str) -> bool:
    """Whether a generated file is missing or has another text."""
    return not path.exists() or path.read_text(encoding="utf-8") != text


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing, exit with 1 when a file is stale"
    )
    parser.add_argument("--root", type=Path, default=ROOT, help="the workspace (default: this one)")
    arguments = parser.parse_args()
    references = [reference_of(service) for service in services(arguments.root)]
    files = {
        arguments.root / "docs" / "configuration.md": render_markdown(references),
        arguments.root / ".env.example": render_env_example(references),
    }
    stale = [path for path, text in files.items() if is_stale(path, text)]
    for path in stale:
        name = path.relative_to(arguments.root)
        if arguments.check:
            print(f"{name} is stale: run `just reference`", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path], encoding="utf-8")
            print(f"wrote {name}")
    return 1 if arguments.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
