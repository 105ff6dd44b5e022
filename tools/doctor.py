"""Show what this machine has and lacks for each group of commands, with the line that installs it."""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from typing import NamedTuple

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
"""Directories in which Debian has some servers, which is not on every user's path."""


class Program(NamedTuple):
    """A program that some commands need.

    Attributes:
        name: Its file, or a command that succeeds if it is installed.
        package: The Debian package that has it; `None` if it is installed in another way.
        advice: How to install it otherwise.
    """

    name: str
    package: str | None
    advice: str = ""


_DOCKER_COMPOSE = "docker compose"
COMPOSE = os.environ.get("COMPOSE", _DOCKER_COMPOSE)
# Docker's packages, with its plugin compose, which Debian 12 does not have.
# Source: https://docs.docker.com/engine/install/debian/#install-using-the-convenience-script
DOCKER = "curl -fsSL https://get.docker.com | sudo sh"
_COMPOSE_ADVICE = (
    DOCKER if COMPOSE == _DOCKER_COMPOSE else f"install it, or unset COMPOSE for {_DOCKER_COMPOSE}"
)
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
        Program("faketime", "faketime"),
        Program("nats-server", "nats-server"),
        Program("node", "nodejs"),
        Program("npm", "npm"),
    ],
    "bench": [Program("wrk", "wrk"), Program("node", "nodejs"), Program("npm", "npm")],
    "images, up, down, roll, container-logs, ps": [Program(f"{COMPOSE} version", None, _COMPOSE_ADVICE)],
    "drill images": [Program("docker", None, DOCKER)],
    "smoke, tour": [Program("curl", "curl")],
}
"""Programs by the commands that need them. Python packages and test servers install themselves."""


def missing(programs: Iterable[Program]) -> list[Program]:
    """Return the programs that this machine lacks."""
    return [program for program in programs if not _is_installed(program.name)]


def _is_installed(name: str) -> bool:
    path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
    file, *arguments = name.split()
    found = shutil.which(file, path=path)
    return found is not None and (
        not arguments or subprocess.run([found, *arguments], capture_output=True, check=False).returncode == 0
    )


def main() -> int:
    """Print the table; return 0, as no command needs everything."""
    parser = argparse.ArgumentParser(prog="just doctor", description=__doc__)
    parser.add_argument(
        "--packages", metavar="COMMANDS", choices=NEEDS, help="print only the missing Debian packages"
    )
    given = parser.parse_args()
    if given.packages:
        packages = [program.package for program in missing(NEEDS[given.packages]) if program.package]
        sys.stdout.write("".join(f"{package}\n" for package in packages))
        return 0
    lacks_packages = False
    for commands, programs in NEEDS.items():
        absent = missing(programs)
        lacks_packages = lacks_packages or any(program.package for program in absent)
        sys.stdout.write(f"{'lacks' if absent else 'ready'}  just {commands}\n")
        for program in absent:
            sys.stdout.write(f"         {program.name:<22} {_installation(program)}\n")
    if lacks_packages:
        sys.stdout.write("if apt-get does not find a package, its lists are old: sudo apt-get update\n")
    return 0


def _installation(program: Program) -> str:
    """Return the line that installs a program."""
    return f"sudo apt-get install {program.package}" if program.package else program.advice


if __name__ == "__main__":
    sys.exit(main())
