"""Waking somebody up."""

import anyio


class Bell:
    """Rung by who has news, waited for by those who want to know; rings in one process only."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def ring(self) -> None:
        """Wake everybody up who waits."""
        self._event.set()
        self._event = anyio.Event()

    async def wait(self, *, at_most_s: float) -> None:
        """Wait until it rings.

        Args:
            at_most_s: Seconds after which to go on anyway.
        """
        with anyio.move_on_after(at_most_s):
            await self._event.wait()
