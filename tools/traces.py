"""Show the slowest and failed requests of the last minute, of the services that `just dev` runs.

Ports are those of `just dev`; `python -m starkeel_observability traces` draws them.
"""

import argparse
import os
import sys

from .workspace import arguments, fleet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    arguments(parser)
    # By name, as a number that stood alone would be taken for a port.
    parser.add_argument("--limit", help="how many requests to show")
    parser.add_argument("--trace", help="the id of one trace to show")
    given = parser.parse_args()
    members = fleet(port=given.port, metrics_port=given.metrics_port, directory=given.directory)
    urls = [member.metrics_url for member in members]
    command = [sys.executable, "-m", "starkeel_observability", "traces", *urls]
    for name in ("limit", "trace"):
        value = getattr(given, name)
        command += [] if value is None else [f"--{name}={value}"]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
