"""How late the event loop is."""

import asyncio
from contextlib import suppress
from functools import cache
from typing import Final

from prometheus_client import Histogram

from . import histogram

_EVERY_S: Final = 0.5
_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


@cache
def _lag() -> Histogram:
    return histogram(
        "starkeel_event_loop_lag_seconds", "How late the event loop came to what was due.", buckets=_BUCKETS
    )


class LoopLag:
    """Asks the running loop to do something in half a second, again and again, and looks when it does."""

    def __init__(self) -> None:
        self._lag = _lag()
        self._next: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, in the running loop; a test client may run one of another kind."""
        with suppress(RuntimeError):
            self._schedule(asyncio.get_running_loop())

    def stop(self) -> None:
        """End."""
        if self._next is not None:
            self._next.cancel()

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + _EVERY_S
        self._next = loop.call_at(due, self._look, loop, due)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._lag.observe(max(0.0, loop.time() - due))
        self._schedule(loop)
