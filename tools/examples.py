"""Build the wheels that `examples/` install, and lock the examples.

python -m tools.examples            build examples/wheels, and lock
python -m tools.examples --wheels   build only
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .registry import ROOT

EXAMPLES = ROOT / "examples"
WHEELS = EXAMPLES / "wheels"


def build_wheels(directory: Path) -> None:
    """Build the wheel of every package and service into a directory.

    Raises:
        CalledProcessError: A build failed; uv has written the reason to stderr.
    """
    command = [
        "uv",
        "build",
        "--quiet",
        "--force-pep517",
        "--all-packages",
        "--wheel",
        "--out-dir",
        str(directory),
    ]
    subprocess.run(command, cwd=ROOT, check=True)


def names() -> list[str]:
    """Return the names of the examples, in the order of the guide."""
    return sorted(path.parent.name for path in EXAMPLES.glob("*/pyproject.toml"))


def main() -> None:
    """Build, and lock."""
    parser = argparse.ArgumentParser(
        prog="just examples", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wheels", action="store_true", help="build the wheels, and keep the locks")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        build_wheels(Path(directory))
        shutil.rmtree(WHEELS, ignore_errors=True)
        WHEELS.mkdir()
        packages = sorted(Path(directory).glob("starkeel_*.whl"))
        for wheel in packages:
            shutil.copy2(wheel, WHEELS)
    sys.stdout.write(f"built {len(packages)} wheels in {WHEELS.relative_to(ROOT)}\n")
    # A wheel of the same version may have other dependencies than the lock.
    upgrades = [f"--upgrade-package={wheel.name.split('-')[0].replace('_', '-')}" for wheel in packages]
    for name in [] if options.wheels else names():
        subprocess.run(["uv", "lock", "--quiet", *upgrades], cwd=EXAMPLES / name, check=True)
        sys.stdout.write(f"locked examples/{name}\n")


if __name__ == "__main__":
    main()
