"""Print a document of a service: `python -m SERVICE openapi` or `asyncapi`, with a failure in a few lines."""

import os
import runpy
import sys

from .service_error import ServiceError, described


def main() -> None:
    """Run the service's command; exit with 70 if its code fails."""
    _, name, kind = sys.argv
    sys.argv = [name, kind]
    try:
        with described(name):
            runpy.run_module(name, run_name="__main__", alter_sys=True)
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(os.EX_SOFTWARE)


if __name__ == "__main__":
    main()
