"""Run the drills, one suite or all, once or several times in a row."""

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from .registry import ROOT

SUITES = sorted(
    path.name for path in (ROOT / "tests" / "drills").iterdir() if path.is_dir() and path.name[0] not in "._"
)


def main() -> int:
    """Run the drills; return 0 if every run passed."""
    parser = argparse.ArgumentParser(prog="just drill", description=__doc__)
    parser.add_argument("suite", nargs="?", choices=SUITES, help="suite (default: all)")
    parser.add_argument("--count", type=int, default=1, help="number of runs (1)")
    parser.add_argument("--requests", type=int, default=3000, help="requests per drill, at least (3000)")
    given = parser.parse_args()
    suites = [given.suite] if given.suite else SUITES
    paths = [f"tests/drills/{suite}" for suite in suites]
    environ = {**os.environ, "DRILL_REQUESTS": str(given.requests)}
    runs = [_run(paths, environ) for _ in range(given.count)]
    if given.count > 1:
        sys.stdout.write(f"{runs.count(0)} of {given.count} runs passed\n")
    return next(filter(None, runs), 0)


def _run(paths: list[str], environ: Mapping[str, str]) -> int:
    """Run drills; return 0 if all passed."""
    # Most of them wait, for outages and timeouts; those that measure times would slow down each other.
    together = ["-m", "not alone", "--numprocesses", "2", "--dist", "loadgroup", "--no-loadscope-reorder"]
    codes = [
        subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "tools.slowest_files", *options, *paths],
            cwd=ROOT, env=environ, check=False,
        ).returncode
        for options in (together, ["-m", "alone"])
    ]  # fmt: skip
    none = pytest.ExitCode.NO_TESTS_COLLECTED
    if codes == [none, none]:
        return none
    # A suite may have drills of one kind only; the code of a run that was killed is negative.
    return next((code for code in codes if code not in (0, none)), 0)


if __name__ == "__main__":
    sys.exit(main())
