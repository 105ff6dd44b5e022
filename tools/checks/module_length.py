"""Check that no Python module is longer than 300 lines."""

import subprocess
import sys

from ..registry import ROOT

MAX_LINES = 300


def main() -> int:
    """Print the modules that are too long; return 1 if there are any."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    is_clean = True
    for path in (ROOT / name for name in listed.stdout.splitlines()):
        lines = path.read_bytes().count(b"\n") if path.exists() else 0
        if lines > MAX_LINES:
            is_clean = False
            sys.stderr.write(f"{path.relative_to(ROOT)}: {lines} lines; split modules over {MAX_LINES}\n")
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
