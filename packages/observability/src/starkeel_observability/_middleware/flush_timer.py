"""One timer for all the requests of a loop: each of its own would cost more than what it is for."""

import asyncio
from collections.abc import Callable
from typing import Final

_EVERY_S: Final = 0.04
"""Seconds that a request waits to be told of with others."""


class FlushTimer:
    """Beats as long as there is something to do.

    Args:
        beat: What is done each time; whether there will be more.
    """

    def __init__(self, beat: Callable[[], bool]) -> None:
        self._do = beat
        self.is_running = False

    def start(self) -> bool:
        """Beat, if it does not yet, in the running loop; whether it does now. A test client may have none."""
        if not self.is_running:
            try:
                asyncio.get_running_loop().call_later(_EVERY_S, self._beat)
            except RuntimeError:
                return False
            self.is_running = True
        return True

    def _beat(self) -> None:
        self.is_running = False
        if self._do():
            self.start()
