"""Show what this machine has and lacks for each group of commands, with the line that installs it."""

import argparse
import os
import shutil
import sys
from collections.abc import Iterable
from typing import NamedTuple

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
"""Directories in which Debian has some servers, which is not on every user's path."""


class Program(NamedTuple):
    """A program that some commands need.

    Attributes:
        name: Its file.
        package: The Debian package that has it; `None` if it is installed in another way.
        advice: How to install it otherwise.
    """

    name: str
    package: str | None
    advice: str = ""


DOCKER = "https://docs.docker.com/engine/install/, or podman: COMPOSE='podman compose' just up"
NEEDS: dict[str, list[Program]] = {
    "dev, test, check": [Program("git", "git")],
    "drill": [
        Program("haproxy", "haproxy"),
        Program("nginx", "nginx-light"),
        Program("apache2", "apache2-bin"),
        Program("pgbouncer", "pgbouncer"),
        Program("promtool", "prometheus"),
        Program("amtool", "prometheus-alertmanager"),
        Program("chromium", "chromium"),
    ],
    "bench": [Program("wrk", "wrk"), Program("node", "nodejs"), Program("npm", "npm")],
    "images, up, down, roll, drill images": [Program("docker", None, DOCKER)],
    "smoke, tour": [Program("curl", "curl")],
}
"""Programs by the commands that need them. Python packages and test servers install themselves."""


def missing(programs: Iterable[Program]) -> list[Program]:
    """Return the programs that this machine lacks."""
    path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
    return [program for program in programs if shutil.which(program.name, path=path) is None]


def main() -> int:
    """Print the table; return 0, as no command needs everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--packages", metavar="COMMANDS", choices=NEEDS, help="print only the missing Debian packages"
    )
    given = parser.parse_args()
    if given.packages:
        packages = [program.package for program in missing(NEEDS[given.packages]) if program.package]
        sys.stdout.write("".join(f"{package}\n" for package in packages))
        return 0
    for commands, programs in NEEDS.items():
        absent = missing(programs)
        sys.stdout.write(f"{'lacks' if absent else 'ready'}  just {commands}\n")
        for program in absent:
            how = f"sudo apt-get install {program.package}" if program.package else program.advice
            sys.stdout.write(f"         {program.name:<10} {how}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
