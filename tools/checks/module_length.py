"""Hold modules to their longest length: a longer one has two ideas in it."""

import subprocess
import sys

from ..workspace import ROOT

MOST_LINES = 400


def main() -> int:
    """Name every module that is too long; the exit code."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = {
        name: len((ROOT / name).read_text("utf-8").splitlines()) for name in listed.stdout.splitlines()
    }
    long = {name: lines for name, lines in modules.items() if lines > MOST_LINES}
    for name, lines in long.items():
        sys.stderr.write(f"{name} has {lines} lines; split it before {MOST_LINES}\n")
    return 1 if long else 0


if __name__ == "__main__":
    sys.exit(main())
