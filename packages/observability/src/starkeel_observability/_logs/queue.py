"""Bounded queue of log lines; when it is full, the least severe lines are dropped first."""

import threading
from collections import deque
from typing import Final

from .._config.log_levels import level_name

SEVERITIES: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")
"""Levels, least severe first."""
MAX_BYTES: Final = 4 * 1024 * 1024
"""Memory limit for the queue of one process."""
_OVERHEAD: Final = 160
"""Memory that an entry takes in addition to its lines."""
_RANKS: Final = {name: rank for rank, name in enumerate(SEVERITIES)}

_Entry = tuple[int, bytes, int]
"""Sequence number, lines that stay together, number of lines."""


class LineQueue:
    """Accepts lines from any thread and returns them in order."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._entries: tuple[deque[_Entry], ...] = tuple(deque() for _ in SEVERITIES)
        self._bytes = 0
        self._number = 0
        self._dropped = [0] * len(SEVERITIES)
        # Reentrant: garbage collection within `put` may run finalizers that log.
        self.lock = threading.RLock()

    def put(self, level: int, lines: bytes, count: int = 1) -> None:
        """Add `count` lines, which stay together; a full queue drops less severe ones, or these."""
        rank = _RANKS[level_name(level)]
        size = len(lines) + _OVERHEAD
        with self.lock:
            if self._bytes + size > self._max_bytes and not self._make_room(size, rank):
                self._dropped[rank] += count
                return
            self._number += 1
            self._entries[rank].append((self._number, lines, count))
            self._bytes += size

    def take(self, max_bytes: int) -> list[tuple[int, bytes, int]]:
        """Remove and return entries of up to `max_bytes`, at least one: rank, lines, number of lines."""
        taken: list[tuple[int, bytes, int]] = []
        left = max_bytes
        with self.lock:
            while (rank := self._next_rank()) is not None:
                entries = self._entries[rank]
                # Usually all entries have one level, and need no merging.
                is_only = sum(map(bool, self._entries)) == 1
                while entries:
                    _, lines, count = entries[0]
                    if taken and len(lines) > left:
                        return taken
                    entries.popleft()
                    self._bytes -= len(lines) + _OVERHEAD
                    left -= len(lines)
                    taken.append((rank, lines, count))
                    if not is_only:
                        break
        return taken

    def count_lost(self, taken: list[tuple[int, bytes, int]]) -> None:
        """Count taken entries that could not be written as dropped."""
        with self.lock:
            for rank, _, count in taken:
                self._dropped[rank] += count

    def dropped(self) -> dict[str, int]:
        return dict(zip(SEVERITIES, self._dropped, strict=True))

    @property
    def is_empty(self) -> bool:
        return not any(self._entries)

    def _next_rank(self) -> int | None:
        found, number = None, 0
        for rank, entries in enumerate(self._entries):
            if entries and (found is None or entries[0][0] < number):
                found, number = rank, entries[0][0]
        return found

    def _make_room(self, size: int, rank: int) -> bool:
        """Drop less severe lines, the newest first: the older ones show what led to the problem."""
        for lower, entries in enumerate(self._entries[:rank]):
            while entries:
                _, lines, count = entries.pop()
                self._bytes -= len(lines) + _OVERHEAD
                self._dropped[lower] += count
                if self._bytes + size <= self._max_bytes:
                    return True
        return False
