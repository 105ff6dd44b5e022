"""Timer that all requests of an event loop share, as a timer per request would cost more than it saves."""

import asyncio
from collections.abc import Callable
from typing import Final

_INTERVAL_S: Final = 0.04
"""Maximum delay of a request's report."""


class FlushTimer:
    """Calls a function every 40 ms while it returns true.

    Args:
        tick: Function to call; returns whether to go on.
    """

    def __init__(self, tick: Callable[[], bool]) -> None:
        self._tick = tick
        self.is_running = False

    def start(self) -> bool:
        """Start if necessary; return False without a running asyncio loop, as in some test clients."""
        if not self.is_running:
            try:
                asyncio.get_running_loop().call_later(_INTERVAL_S, self._run)
            except RuntimeError:
                return False
            self.is_running = True
        return True

    def _run(self) -> None:
        self.is_running = False
        if self._tick():
            self.start()
