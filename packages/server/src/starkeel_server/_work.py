"""The program of a worker process: `python -m starkeel_server._work ORDERS`."""

import sys

if __name__ == "__main__":
    from ._signals import ignore_stops

    ignore_stops()

    from ._worker import work

    work(sys.argv[1])
