"""Run a command of a service in development, after checking that the service exists."""

import os
import sys

from .workspace import service_names


def main() -> None:
    """Replace this process by the service's; exit with 64 if there is no such service."""
    name, *command = sys.argv[1:]
    names = service_names()
    if name not in names:
        sys.stderr.write(f"there is no service {name!r}; services: {', '.join(names)}\n")
        sys.exit(os.EX_USAGE)
    env = {"ENVIRONMENT": "development", **os.environ}
    os.execve(sys.executable, [sys.executable, "-m", name, *command], env)


if __name__ == "__main__":
    main()
