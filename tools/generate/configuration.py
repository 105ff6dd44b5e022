"""Write `docs/configuration.md` and `.env.example` from the settings of every service, or check them.

python -m tools.generate.configuration           write them
python -m tools.generate.configuration --check   exit with 1 if a file is stale
"""

import sys
from importlib import import_module
from pathlib import Path

from starkeel_config import Reference, Settings, reference, render_env_example, render_markdown

from ..workspace import ROOT
from .files import parser, write


def services(root: Path) -> list[str]:
    """Return the names of the services, each with `services/*/src/NAME/settings.py`."""
    found = sorted(path.parent.name for path in root.glob("services/*/src/*/settings.py"))
    if not found:
        raise SystemExit("no service has a settings.py below services/*/src/*/")
    return found


def reference_of(service: str) -> Reference:
    """Return the variables of a service.

    Raises:
        SystemExit: It has no settings class, or a variable has no description.
    """
    struct = getattr(import_module(f"{service}.settings"), "Settings", None)
    if not (isinstance(struct, type) and issubclass(struct, Settings)):
        raise SystemExit(f"{service}.settings has no class Settings based on starkeel_config.Settings")
    found = reference(struct, service=service)
    if found.undocumented():
        names = ", ".join(found.undocumented())
        raise SystemExit(f"{service}: describe these by a string below their fields: {names}")
    return found


def main() -> int:
    """Write or check the files; return the exit code."""
    options = parser(__doc__)
    options.add_argument("--root", type=Path, default=ROOT, help="the workspace (default: this repository)")
    given = options.parse_args()
    references = [reference_of(service) for service in services(given.root)]
    files = {
        given.root / "docs" / "configuration.md": render_markdown(references),
        given.root / ".env.example": render_env_example(references),
    }
    return write(files, recipe="reference", check=given.check, root=given.root)


if __name__ == "__main__":
    sys.exit(main())
