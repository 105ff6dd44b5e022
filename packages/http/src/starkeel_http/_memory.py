"""Counting within one process."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, final

from limits.aio.storage import MovingWindowSupport, Storage

MOST_KEYS: Final = 100_000
"""Clients that are remembered at once; beyond that the one that was not heard of for longest is forgotten."""

_MOVING_ONLY: Final = "only moving windows are counted here, by MovingWindowRateLimiter"


@final
class ProcessStorage(Storage, MovingWindowSupport):
    """Remembers when each client came, as long as that matters and in bounded memory.

    The storage that comes with `limits` looks at every key it holds on every request.

    Args:
        clock: Seconds since the epoch.
        most_keys: Clients that are remembered at once.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float] = time.time, *, most_keys: int = MOST_KEYS) -> None:
        super().__init__()
        self._clock = clock
        self._most_keys = most_keys
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    @property
    def base_exceptions(self) -> type[Exception]:
        """Nothing here fails."""
        return ValueError

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Note that a client came, unless it came too often.

        Args:
            key: Who.
            limit: How often it may come.
            expiry: Seconds of the window; the same for every key of one storage.
            amount: How often it comes at once.
        """
        times = self._within(key, expiry)
        if len(times) + amount > limit:
            return False
        now = self._clock()
        times.extend([now] * amount)
        self._times[key] = times
        self._times.move_to_end(key)
        self._forget(now - expiry)
        return True

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return when the first of the visits that count was, and how many they are."""
        del limit
        times = self._within(key, expiry)
        return (times[0], len(times)) if times else (self._clock(), 0)

    async def clear(self, key: str) -> None:
        """Forget a client."""
        self._times.pop(key, None)

    async def reset(self) -> int:
        """Forget everybody, and return how many they were."""
        count = len(self._times)
        self._times.clear()
        return count

    async def check(self) -> bool:
        """It always works."""
        return True

    async def get(self, key: str) -> int:
        """Return how many visits of a client are remembered."""
        return len(self._times.get(key, ()))

    async def get_expiry(self, key: str) -> float:
        """Fixed windows are not counted here."""
        del key
        raise TypeError(_MOVING_ONLY)

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Fixed windows are not counted here."""
        del key, expiry, amount
        raise TypeError(_MOVING_ONLY)

    def _within(self, key: str, expiry: int) -> deque[float]:
        times = self._times.get(key)
        if times is None:
            return deque()
        since = self._clock() - expiry
        while times and times[0] <= since:
            times.popleft()
        return times

    def _forget(self, before: float) -> None:
        # The last visit orders the keys: those that have run out stand in front.
        while self._times:
            key, times = next(iter(self._times.items()))
            if len(self._times) <= self._most_keys and times and times[-1] > before:
                return
            del self._times[key]
