"""Jobs that a process has claimed ahead of what it executes."""

import heapq
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ._claim import Claim
from ._definition import Job

_AHEAD_S: Final = 0.25
"""Seconds for which claimed jobs should suffice: many statements and wake-ups are saved where jobs are short,
and nothing is kept from other processes where they are long."""
_MAX_AHEAD: Final = 10
"""Maximum number of claimed jobs, as a multiple of those that may execute at the same time."""
_MAX_AHEAD_CHARACTERS: Final = 4_000_000
"""Size of the arguments of the jobs that are claimed ahead; a claim exceeds it once where they grow."""
_WEIGHT: Final = 0.1


class Ready:
    """Claimed jobs that have not begun, those of the highest priority first.

    Args:
        concurrency: Maximum number of jobs that execute at the same time.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._claims: list[tuple[int, int, Claim]] = []
        self._alone: set[int] = set()
        self._usual_s = float(concurrency)
        self._largest = 1
        self._changed_at = time.monotonic()

    def __len__(self) -> int:
        return len(self._claims)

    def add(self, claims: Iterable[Claim]) -> None:
        """Add jobs that were claimed now."""
        self._changed_at = time.monotonic()
        self._largest = max(1, int(self._largest * (1 - _WEIGHT)))
        for claim in claims:
            self._largest = max(self._largest, len(claim.arguments))
            heapq.heappush(self._claims, (claim.rank, claim.job_id, claim))

    def add_alone(self, claims: Iterable[Claim]) -> None:
        """Add jobs that share no unit of work."""
        claims = list(claims)
        self._alone |= {claim.job_id for claim in claims}
        self.add(claims)

    def pop(self, jobs: Mapping[str, Job[Any]]) -> list[Claim]:
        """Remove the job that begins next, with those after it that share its unit of work."""
        self._changed_at = time.monotonic()
        first = heapq.heappop(self._claims)[-1]
        popped, most = [first], jobs[first.name].batch if self._may_share(first) else 1
        while self._claims and len(popped) < most:
            claim = self._claims[0][-1]
            if claim.name != first.name or not self._may_share(claim):
                break
            popped.append(heapq.heappop(self._claims)[-1])
        self._alone -= {claim.job_id for claim in popped}
        return popped

    def _may_share(self, claim: Claim) -> bool:
        # One that has failed would make the others fail with it.
        return claim.attempt == 1 and claim.job_id not in self._alone

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
        self._alone.clear()
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
        enough = min(enough, _MAX_AHEAD_CHARACTERS / self._largest)
        return 0 if len(self._claims) > enough / 2 else int(enough) - len(self._claims)
