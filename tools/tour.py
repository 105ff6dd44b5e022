"""Print the tour of the running services, or run it and show each request with its response."""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from .registry import ROOT
from .workspace import Member, is_listening, parse

STEPS = Path(__file__).with_name("tour.sh")
_ADDRESS = re.compile(r'"\$([A-Z0-9_]+?)(?:_ADMIN)?/')


def needed() -> list[str]:
    """Return the names of the services whose addresses the tour uses."""
    return sorted({name.lower() for name in _ADDRESS.findall(STEPS.read_text("utf-8"))})


def script(members: list[Member]) -> str:
    """Return the commands of the tour, with the addresses of these services."""
    places = [f"{m.name.upper()}={m.url} {m.name.upper()}_ADMIN={m.metrics_url}" for m in members]
    return "\n".join([*places, "", STEPS.read_text("utf-8")])


def shown(commands: str) -> str:
    """Return a shell program that prints each step before its output and stops at the first failure.

    Args:
        commands: Steps separated by blank lines.
    """
    program = ["set -e"]
    for step in commands.strip().split("\n\n"):
        quoted = step.replace("'", "'\\''")
        program += [f"printf '\\033[1m%s\\033[0m\\n' '{quoted}'", step, "printf '\\n\\n'"]
    return "\n".join(program)


def main() -> int:
    """Print, check or run the tour; return the exit code."""
    parser = argparse.ArgumentParser(prog="just tour", description=__doc__)
    parser.add_argument("--print", action="store_true", help="print the commands only")
    parser.add_argument("--check", action="store_true", help="exit with 1 if the tour in README.md differs")
    given, every = parse(parser)
    members = [member for member in every if member.name in needed()]
    if missing := sorted({*needed()} - {member.name for member in members}):
        # Its text in README.md has addresses that are no longer in the registry.
        if given.check:
            return 0
        sys.stderr.write(
            f"the tour uses {' and '.join(missing)}, which this workspace does not have: replace the steps in"
            " tools/tour.sh by those of your services\n"
        )
        return 1
    commands = script(members)
    if given.print:
        sys.stdout.write(commands)
        return 0
    if given.check:
        if commands in (ROOT / "README.md").read_text("utf-8"):
            return 0
        sys.stderr.write("README.md differs from tools/tour.sh: paste the output of `just tour --print`\n")
        return 1
    if absent := [member for member in members if not is_listening(member)]:
        found = ", ".join(f"{member.name} at {member.url}" for member in absent)
        sys.stderr.write(f"no service responds: {found}; start them in another terminal: uv run just dev\n")
        return 1
    return subprocess.run(["sh", "-c", shown(commands)], cwd=given.directory, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
