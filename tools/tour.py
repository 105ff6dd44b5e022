"""The tour of the running services: prints its commands, or runs them and shows each exchange."""

import argparse
import subprocess
import sys
from pathlib import Path

from .workspace import ROOT, Member, arguments, fleet

STEPS = Path(__file__).with_name("tour.sh")
_README = ROOT / "README.md"


def script(members: list[Member]) -> str:
    """Return the tour's commands, for the services where they are.

    Args:
        members: The services.
    """
    places = [f"{m.name.upper()}={m.url} {m.name.upper()}_ADMIN={m.metrics_url}" for m in members]
    return "\n".join([*places, "", STEPS.read_text("utf-8")])


def shown(commands: str) -> str:
    """Make a shell program that shows each step before what comes of it, and ends at the first failure.

    Args:
        commands: Steps with blank lines between them.
    """
    program = ["set -e"]
    for step in commands.strip().split("\n\n"):
        quoted = step.replace("'", "'\\''")
        program += [f"printf '\\033[1m%s\\033[0m\\n' '{quoted}'", step, "printf '\\n\\n'"]
    return "\n".join(program)


def main() -> int:
    """Print, check or run the tour; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    arguments(parser)
    parser.add_argument("--print", action="store_true", help="only print the commands")
    parser.add_argument("--check", action="store_true", help="exit with 1 when the README has another tour")
    given = parser.parse_args()
    commands = script(fleet(port=given.port, metrics_port=given.metrics_port))
    if given.print:
        sys.stdout.write(commands)
        return 0
    if given.check:
        if commands in _README.read_text("utf-8"):
            return 0
        sys.stderr.write("README.md has another tour than tools/tour.sh: paste `just tour --print`\n")
        return 1
    return subprocess.run(["sh", "-c", shown(commands)], cwd=given.directory, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
