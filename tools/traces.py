"""Show the slowest and failed requests of the last minute as waterfalls, by default those of `just dev`."""

import argparse
import sys

from .trace_viewer.show import show
from .workspace import arguments, fleet


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    arguments(parser)
    # Options, as positional numbers are ports.
    parser.add_argument("--limit", type=int, default=5, help="number of requests to show (5)")
    parser.add_argument("--trace", metavar="ID", help="show this trace only; a prefix is enough")
    parser.add_argument(
        "--url", action="append", help="admin URL of a service, repeatable; replaces the ports"
    )
    given = parser.parse_args()
    members = fleet(port=given.port, metrics_port=given.metrics_port, directory=given.directory)
    return show(given.url or [member.metrics_url for member in members], given.limit, given.trace)


if __name__ == "__main__":
    sys.exit(main())
