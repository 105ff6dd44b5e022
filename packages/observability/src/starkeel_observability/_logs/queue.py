"""Lines that wait to be written: bounded, and in need of room the least severe are let go first."""

import threading
from collections import deque
from typing import Final

from .._config.log_levels import level_name

SEVERITIES: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR")
"""What can be dropped, least severe first."""
MOST_BYTES: Final = 4 * 1024 * 1024
"""Memory that waiting lines may take, in one process."""
_OVERHEAD: Final = 160
"""Bytes that a waiting line takes beside its own."""

_RANKS: Final = {name: rank for rank, name in enumerate(SEVERITIES)}


_Waiting = tuple[int, bytes, int]
"""Its number, lines that came together, how many they are."""


class LineQueue:
    """Takes lines from any thread and gives them back in their order.

    Args:
        most_bytes: What may wait.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._waiting: tuple[deque[_Waiting], ...] = tuple(deque() for _ in SEVERITIES)
        self._bytes = 0
        self._number = 0
        self._dropped = [0] * len(SEVERITIES)
        # Entered again when what is collected as garbage meanwhile has something to say.
        self.lock = threading.RLock()

    def put(self, level: int, lines: bytes, count: int = 1) -> None:
        """Add a line, in place of less severe ones where there is no room; or let it go.

        Args:
            level: As the standard library's numbers.
            lines: Its end included; or several of them, which stay together.
            count: How many.
        """
        rank = _RANKS[level_name(level)]
        size = len(lines) + _OVERHEAD
        with self.lock:
            if self._bytes + size > self._most and not self._made_room(size, rank):
                self._dropped[rank] += count
                return
            self._number += 1
            self._waiting[rank].append((self._number, lines, count))
            self._bytes += size

    def take(self, most_bytes: int) -> list[tuple[int, bytes, int]]:
        """The next lines in their order, with the rank of each and how many; at least one unless none waits.

        Args:
            most_bytes: What they may have together.
        """
        taken: list[tuple[int, bytes, int]] = []
        left = most_bytes
        with self.lock:
            while (rank := self._next_rank()) is not None:
                waiting = self._waiting[rank]
                # Nearly always lines of one level wait, whose order needs no looking at others.
                is_only = sum(map(bool, self._waiting)) == 1
                while waiting:
                    _, lines, count = waiting[0]
                    if taken and len(lines) > left:
                        return taken
                    waiting.popleft()
                    self._bytes -= len(lines) + _OVERHEAD
                    left -= len(lines)
                    taken.append((rank, lines, count))
                    if not is_only:
                        break
        return taken

    def lose(self, lines: list[tuple[int, bytes, int]]) -> None:
        """Count lines as dropped that were taken and could not be written."""
        with self.lock:
            for rank, _, count in lines:
                self._dropped[rank] += count

    def dropped(self) -> dict[str, int]:
        """How many lines were dropped so far, by level."""
        return dict(zip(SEVERITIES, self._dropped, strict=True))

    @property
    def is_empty(self) -> bool:
        """Whether no line waits."""
        return not any(self._waiting)

    def _next_rank(self) -> int | None:
        found, number = None, 0
        for rank, waiting in enumerate(self._waiting):
            if waiting and (found is None or waiting[0][0] < number):
                found, number = rank, waiting[0][0]
        return found

    def _made_room(self, size: int, rank: int) -> bool:
        """Let go of less severe lines, the newest first: what led to the trouble is older."""
        for waiting, lower in zip(self._waiting[:rank], range(rank), strict=True):
            while waiting:
                _, lines, count = waiting.pop()
                self._bytes -= len(lines) + _OVERHEAD
                self._dropped[lower] += count
                if self._bytes + size <= self._most:
                    return True
        return False
