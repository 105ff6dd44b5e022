"""Jobs that a process has claimed ahead of what it executes."""

import heapq
import time
from collections.abc import Iterable
from typing import Final

from ._claim import Claim

_AHEAD_S: Final = 0.25
"""Seconds for which claimed jobs should suffice: many statements and wake-ups are saved where jobs are short,
and nothing is kept from other processes where they are long."""
_MAX_AHEAD: Final = 10
"""Maximum number of claimed jobs, as a multiple of those that may execute at the same time."""
_WEIGHT: Final = 0.1


class Ready:
    """Claimed jobs that have not begun, those of the highest priority first.

    Args:
        concurrency: Maximum number of jobs that execute at the same time.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._claims: list[tuple[int, int, Claim]] = []
        self._usual_s = float(concurrency)
        self._changed_at = time.monotonic()

    def __len__(self) -> int:
        return len(self._claims)

    def add(self, claims: Iterable[Claim]) -> None:
        """Add jobs that were claimed now."""
        self._changed_at = time.monotonic()
        for claim in claims:
            heapq.heappush(self._claims, (claim.rank, claim.job_id, claim))

    def pop(self) -> Claim:
        """Remove the job that begins next."""
        self._changed_at = time.monotonic()
        return heapq.heappop(self._claims)[-1]

    def ids(self) -> set[int]:
        """Return the ids of the jobs."""
        return {job_id for _, job_id, _ in self._claims}

    def remove(self, ids: set[int]) -> None:
        """Remove jobs that another process has taken over."""
        if ids:
            self._claims = [each for each in self._claims if each[1] not in ids]
            heapq.heapify(self._claims)

    def clear(self) -> list[Claim]:
        """Remove all jobs and return them; claim none ahead until jobs are short again."""
        claims, self._claims = [claim for _, _, claim in self._claims], []
        self._usual_s = max(self._usual_s, float(self._concurrency))
        return claims

    def waited_s(self) -> float:
        """Return the seconds since a job was added or has begun; 0 without jobs."""
        return time.monotonic() - self._changed_at if self._claims else 0.0

    def note_duration(self, seconds: float) -> None:
        """Note how long a job took: a long one counts at once, a short one after others."""
        is_longer = seconds > self._usual_s
        self._usual_s = seconds if is_longer else self._usual_s + _WEIGHT * (seconds - self._usual_s)

    def room(self) -> int:
        """Return how many jobs to claim ahead: 0 while at least half of them is left."""
        enough = min(_MAX_AHEAD, _AHEAD_S / max(self._usual_s, 0.001)) * self._concurrency
        return 0 if len(self._claims) > enough / 2 else int(enough) - len(self._claims)
