"""Keys that may have new events, among those with subscriptions."""

import time
from collections.abc import Collection
from typing import Final

from .._plugin import DatabasePlugin
from .reading import MAX_KEYS, read_last_position, read_recent_keys

_OVERLAP_S: Final = 1.0
"""Seconds for which the key of a new event is read again: positions are assigned before they are visible, so
an event may become visible after others with higher positions."""


class ChangedKeys:
    """Finds the keys to read, so that the cost depends on the events and not on the subscriptions.

    Few keys are all read. Of many, those of recent events are read, and the others in rotation: an event
    whose transaction took longer than the overlap arrives a few seconds late, but always arrives.
    """

    def __init__(self, database: DatabasePlugin) -> None:
        self._database = database
        self._rotation: list[str] = []
        self._since: int | None = None
        self._next_since = 0
        self._moved_at = 0.0

    async def poll(self, keys: Collection[str]) -> list[str]:
        """Return the keys that must be read now, of those with subscriptions."""
        if len(keys) <= MAX_KEYS:
            self._since = None
            return list(keys)
        if self._since is None:
            self._since = self._next_since = await read_last_position(self._database)
            self._moved_at = time.monotonic()
            return list(keys)
        recent, last = await read_recent_keys(self._database, self._since)
        if time.monotonic() - self._moved_at >= _OVERLAP_S:
            self._since, self._next_since = self._next_since, max(last, self._next_since)
            self._moved_at = time.monotonic()
        if not self._rotation:
            self._rotation = list(keys)
        turn, self._rotation = self._rotation[:MAX_KEYS], self._rotation[MAX_KEYS:]
        return [*(key for key in recent if key in keys), *turn]
