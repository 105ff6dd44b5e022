"""Check that no Python module is longer than 300 lines."""

import subprocess
import sys

from ..workspace import ROOT

MAX_LINES = 300


def main() -> int:
    """Print the modules that are too long; return 1 if there are any."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    lengths = {
        name: (ROOT / name).read_bytes().count(b"\n")
        for name in listed.stdout.splitlines()
        if (ROOT / name).exists()
    }
    too_long = {name: lines for name, lines in lengths.items() if lines > MAX_LINES}
    for name, lines in too_long.items():
        sys.stderr.write(f"{name}: {lines} lines; split modules over {MAX_LINES}\n")
    return 1 if too_long else 0


if __name__ == "__main__":
    sys.exit(main())
