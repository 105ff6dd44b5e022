"""Limits of a run."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field


class BudgetExhausted(Exception):
    """The run may take no more time, or send no more requests."""


@dataclass(slots=True)
class Budget:
    """Time and requests that a run may use.

    Attributes:
        seconds: Limit of the whole run, in seconds.
        requests: Limit of requests.
        clock: Source of time, in seconds.
    """

    seconds: float
    requests: int
    clock: Callable[[], float] = time.monotonic
    used_requests: int = field(default=0, init=False)
    started: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        """Begin to count the time."""
        self.started = self.clock()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.started

    @property
    def remaining_s(self) -> float:
        """Seconds that are left, at least 0."""
        return max(self.seconds - self.elapsed_s, 0.0)

    def check_time(self) -> None:
        """Raise `BudgetExhausted` after the limit of time."""
        if self.remaining_s <= 0:
            raise BudgetExhausted(f"the time budget of {self.seconds:g} s is used up; raise --time-budget")

    def spend_request(self) -> None:
        """Count a request.

        Raises:
            BudgetExhausted: A limit is reached; the request must not be sent.
        """
        self.check_time()
        with self._lock:
            if self.used_requests >= self.requests:
                raise BudgetExhausted(
                    f"the request budget of {self.requests} is used up; raise --request-budget"
                )
            self.used_requests += 1
