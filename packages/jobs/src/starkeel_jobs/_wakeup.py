"""Wakes a worker when a job is added, in this process or in another one."""

import asyncio


class Wakeup:
    """Remembers one call of `wake` until the next `wait`."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Wake the worker; if it does not wait, its next `wait` returns at once."""
        self._event.set()

    async def wait(self, *, timeout_s: float) -> None:
        """Wait until `wake` is called, or until `timeout_s` seconds have passed."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            pass
        self._event.clear()
