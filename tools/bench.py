"""Run a benchmark, after checking that it exists."""

import os
import sys

from .registry import ROOT


def main() -> None:
    """Replace this process by the benchmark; exit with 64 if it does not exist."""
    name, *options = sys.argv[1:] or [""]
    names = sorted(file.parent.name for file in (ROOT / "benchmarks").glob("*/run.py"))
    if name not in names:
        problem = f"there is no benchmark {name!r}" if name else "no benchmark is given"
        sys.stderr.write(f"{problem}; benchmarks: {', '.join(names)}\n")
        sys.exit(os.EX_USAGE)
    os.execv(sys.executable, [sys.executable, "-m", f"benchmarks.{name}.run", *options])


if __name__ == "__main__":
    main()
