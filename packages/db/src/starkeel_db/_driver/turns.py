"""Turns of those that wait for a connection, in rotation among clients."""

import asyncio
from collections import deque
from collections.abc import Hashable


class Turns:
    """A queue for each client, which are granted a turn one after the other.

    In one queue for all, a client with hundreds of requests would delay those of another by all of its own.
    """

    granted = 0
    """Number of turns that were granted and are not in use yet."""

    def __init__(self) -> None:
        self._turns: dict[Hashable, deque[asyncio.Future[None]]] = {}

    def __bool__(self) -> bool:
        return bool(self._turns)

    async def wait(self, client: Hashable, *, timeout_s: float) -> None:
        """Wait for a turn, which counts as granted until the caller decrements `granted`.

        Raises:
            TimeoutError: No turn was granted in time.
        """
        turn = asyncio.get_running_loop().create_future()
        self._turns.setdefault(client, deque()).append(turn)
        try:
            async with asyncio.timeout(timeout_s):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.granted -= 1
            turn.cancel()
            raise

    def grant(self) -> bool:
        """Grant the next turn; return whether anyone waits for one."""
        while self._turns:
            client, turns = next(iter(self._turns.items()))
            del self._turns[client]
            turn = turns.popleft()
            if turns:
                # Behind the other clients.
                self._turns[client] = turns
            if not turn.done():
                self.granted += 1
                turn.set_result(None)
                return True
        return False
