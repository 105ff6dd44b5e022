"""The subscriptions that must be given past events, in fair turns."""

import time
from collections import deque
from typing import Final

from .subscription import Subscription

MAX_REPLAYS: Final = 4
"""Number of subscriptions of a process that are given past events at the same time.

Each event is decoded, encoded and sent: more would only delay all other requests of the process."""
_HELD_S: Final = 1.0
"""Seconds after which a subscription that reads slowly, and therefore uses no CPU, does not count."""


class Replays:
    """Subscriptions with past events, which take turns by key and then among those of a key."""

    def __init__(self) -> None:
        self._by_key: dict[str, deque[Subscription]] = {}
        self._given: dict[Subscription, float] = {}

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self._by_key)

    def add(self, subscription: Subscription) -> None:
        """Add a subscription at the end of the turn of its key."""
        self._by_key.setdefault(subscription.key, deque()).append(subscription)

    def discard(self, subscription: Subscription) -> bool:
        """Remove a subscription; return whether it was there."""
        self._given.pop(subscription, None)
        waiting = self._by_key.get(subscription.key)
        if waiting is None or subscription not in waiting:
            return False
        waiting.remove(subscription)
        if not waiting:
            del self._by_key[subscription.key]
        return True

    def next(self) -> list[Subscription]:
        """Return the subscriptions whose turn it is; they have taken all events of their last one."""
        now = time.monotonic()
        self._given = {each: at for each, at in self._given.items() if each.queued and now - at < _HELD_S}
        chosen: list[Subscription] = []
        left = MAX_REPLAYS - len(self._given)
        is_found = True
        while left > len(chosen) and is_found:
            is_found = False
            # A copy: the order of the keys changes.
            for key in list(self._by_key):
                if len(chosen) < left and (found := self._first_of(key, chosen)) is not None:
                    chosen.append(found)
                    is_found = True
        self._given |= dict.fromkeys(chosen, now)
        return chosen

    def _first_of(self, key: str, chosen: list[Subscription]) -> Subscription | None:
        waiting = self._by_key[key]
        for _ in range(len(waiting)):
            subscription = waiting[0]
            waiting.rotate(-1)
            if not subscription.queued and subscription not in chosen:
                # The last key in the next turn.
                self._by_key[key] = self._by_key.pop(key)
                return subscription
        return None
