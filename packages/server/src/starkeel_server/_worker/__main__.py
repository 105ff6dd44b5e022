"""The program of a worker process: `python -m starkeel_server._work DESCRIPTOR`."""

import gc
import sys

if __name__ == "__main__":
    # Next to nothing of what is imported is garbage, and looking for it again and again takes a tenth of the
    # time; what then is there is frozen, and never looked through while the worker serves.
    gc.disable()

    from .._process.signals import ignore_stops

    ignore_stops()

    from .._ipc.spawn import CommandChannel

    # Before the rest is imported: when main ends meanwhile, this process does, too.
    ordered = CommandChannel(int(sys.argv[1]))

    from .worker import work

    work(ordered)
