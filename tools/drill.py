"""Run a suite of drills, several times in a row if asked, and say how often it was clean."""

import argparse
import os
import subprocess
import sys

from .workspace import ROOT

SUITES = sorted(path.name for path in (ROOT / "tests" / "drills").iterdir() if path.name[0] != "_")


def _suite(name: str) -> str:
    return "database" if name == "data" else name


def main() -> int:
    """Run the drills; 0 when every run was clean."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="?", type=_suite, choices=SUITES, help="which (all)")
    parser.add_argument("--count", type=int, default=1, help="how many times in a row (1)")
    parser.add_argument("--requests", type=int, default=3000, help="how many a drill sends at least (3000)")
    given = parser.parse_args()
    suites = [given.suite] if given.suite else SUITES
    # One at a time: a drill counts what it sends, and two at once would count each other's delays.
    command = [sys.executable, "-m", "pytest", *(f"tests/drills/{suite}" for suite in suites)]
    environ = {**os.environ, "DRILL_REQUESTS": str(given.requests)}
    runs = [
        subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode for _ in range(given.count)
    ]
    if given.count > 1:
        sys.stdout.write(f"{runs.count(0)} of {given.count} runs were clean\n")
    return max(runs)


if __name__ == "__main__":
    sys.exit(main())
