"""Run the drills, one suite or all, once or several times in a row."""

import argparse
import os
import subprocess
import sys

from .registry import ROOT

SUITES = sorted(path.name for path in (ROOT / "tests" / "drills").iterdir() if path.name[0] not in "._")


def main() -> int:
    """Run the drills; return 0 if every run passed."""
    parser = argparse.ArgumentParser(prog="just drill", description=__doc__)
    parser.add_argument("suite", nargs="?", choices=SUITES, help="suite (default: all)")
    parser.add_argument("--count", type=int, default=1, help="number of runs (1)")
    parser.add_argument("--requests", type=int, default=3000, help="requests per drill, at least (3000)")
    given = parser.parse_args()
    suites = [given.suite] if given.suite else SUITES
    # Not in parallel: drills measure times, and each would slow down the others.
    command = [sys.executable, "-m", "pytest", *(f"tests/drills/{suite}" for suite in suites)]
    environ = {**os.environ, "DRILL_REQUESTS": str(given.requests)}
    runs = [
        subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode for _ in range(given.count)
    ]
    if given.count > 1:
        sys.stdout.write(f"{runs.count(0)} of {given.count} runs passed\n")
    return max(runs)


if __name__ == "__main__":
    sys.exit(main())
