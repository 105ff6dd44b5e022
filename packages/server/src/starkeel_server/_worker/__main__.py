"""Entry point of a worker process: `python -m starkeel_server._worker DESCRIPTOR`."""

import gc
import sys
from contextlib import suppress
from importlib import import_module

if __name__ == "__main__":
    # Imports create almost no garbage, and collecting it takes a tenth of the start. What exists after the
    # start is frozen.
    gc.disable()

    from .._process.signals import ignore_stops

    ignore_stops()

    from .._ipc.spawn import CommandChannel

    # Before the other imports, so that this process also ends if the main process ends meanwhile.
    channel = CommandChannel(int(sys.argv[1]))

    from .._process.deferred_imports import UNUSED, deferred_imports

    with deferred_imports(UNUSED):
        from .worker import run

        # Only the images of services that verify tokens contain it.
        with suppress(ImportError):
            import_module("jwt")

    run(channel)
