"""Show the slowest and failed requests of the last minute, of the services that `just dev` runs.

Ports are those of `just dev`; the rest is handed to `python -m starkeel_observability traces`.
"""

import argparse
import os
import sys

from fleet import arguments, fleet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    arguments(parser)
    given, rest = parser.parse_known_args()
    members = fleet(port=given.port, metrics_port=given.metrics_port, directory=given.directory)
    urls = [member.metrics_url for member in members]
    command = [sys.executable, "-m", "starkeel_observability", "traces", *urls, *rest]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
