"""Build the documentation site, serve it, or renew its screenshots.

just docs                             build .data/docs/dev, with all links checked
just docs --version 0.2.0 --into DIR  build a release beside the others in DIR
just docs serve                       build, serve and rebuild on changes
just docs screenshots                 make the screenshots of docs/screenshots again
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from .build import BuildError, build
from .links import BrokenLinkError
from .navigation import NavigationError
from .serve import serve
from .versions import VersionError, check_version, publish

ROOT: Final = Path(__file__).resolve().parents[2]
DATA: Final = ROOT / ".data" / "docs"
_SCREENSHOTS: Final = ("tests/workspace/test_screenshots.py", "tests/workspace/test_dashboard.py")


def main() -> int:
    """Run the command; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="just docs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=("build", "serve", "screenshots"), default="build")
    parser.add_argument("--version", default="dev", help="version of the site (default: dev)")
    parser.add_argument(
        "--into", type=Path, default=DATA, help="folder of all versions (default: .data/docs)"
    )
    parser.add_argument("--port", type=int, default=8000, help="port of `serve` (default: 8000)")
    given = parser.parse_args()
    try:
        if given.command == "screenshots":
            return _screenshots()
        _build(given.version, given.into.resolve())
        if given.command == "serve":
            serve(ROOT, given.into.resolve(), given.port, lambda: _build(given.version, given.into.resolve()))
    except (BuildError, BrokenLinkError, NavigationError, VersionError) as error:
        sys.stderr.write(f"the site was not built: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _build(version: str, folder: Path) -> None:
    check_version(version)
    ref = "main" if version == "dev" else f"v{version}"
    if sys.stderr.isatty():
        sys.stderr.write("building the site and checking its links ...\n")
    build(ROOT, folder / f".{version}", folder / version, ref=ref)
    publish(folder)
    sys.stdout.write(f"built {folder / version}\n")
    sys.stdout.flush()


def _screenshots() -> int:
    command = ["uv", "run", "--quiet", "--frozen", "pytest", "-q", *_SCREENSHOTS]
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    environ["STARKEEL_SCREENSHOTS"] = "write"
    return subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
