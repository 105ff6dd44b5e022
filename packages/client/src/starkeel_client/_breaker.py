"""Circuit breaker: stops requests to a failing upstream, and tests with a few whether it has recovered."""

import time
from collections import deque
from typing import Final, Literal, final

import structlog
from starkeel_config import Backoff

from ._settings import UpstreamSettings

State = Literal["closed", "half_open", "open"]

_STEPS: Final = 10
"""Parts of the window; the oldest is dropped as a whole."""
_PROBES: Final = 3
"""Successful probes, one after the other, that close a breaker."""

log = structlog.get_logger(__name__)


@final
class Breaker:
    """Circuit breaker of one upstream in one worker.

    Closed, it admits every request. It opens when the failures in its window reach a share of the requests,
    and then rejects all of them for a time. After that it is half-open: it admits one request at a time, the
    probe. A failed probe opens it again, several successful ones close it.
    """

    def __init__(self, upstream: str, settings: UpstreamSettings) -> None:
        self._upstream = upstream
        self._is_enabled = settings.breaker_open_s > 0
        self._ratio = settings.breaker_failure_ratio
        self._min_requests = settings.breaker_min_requests
        # With jitter, so that the workers of all replicas do not probe at the same moment.
        self._pause = Backoff(base_s=settings.breaker_open_s, cap_s=settings.breaker_open_s, jitter=0.5)
        self._window = _Window(settings.breaker_window_s)
        self._opened_until: float | None = None
        """End of the rejection in monotonic seconds; `None` while the breaker is closed."""
        self._is_probing = False
        self._successes = 0
        self._permit = 0

    @property
    def state(self) -> State:
        """The current state."""
        if self._opened_until is None:
            return "closed"
        return "half_open" if time.monotonic() >= self._opened_until else "open"

    def admit(self) -> int | None:
        """Admit a request; `None` if it is rejected.

        Returns:
            A permit, with which `record` must be called when the request has ended.
        """
        if self._opened_until is not None:
            if self._is_probing or time.monotonic() < self._opened_until:
                return None
            self._is_probing = True
        return self._permit

    def record(self, permit: int, *, is_failure: bool | None) -> None:
        """Count the result of a request.

        Args:
            permit: What `admit` returned.
            is_failure: `None` if it is no evidence about the upstream, such as a cancellation.
        """
        # A request that was admitted before the last change of state is no evidence.
        if permit != self._permit:
            return
        if self._opened_until is not None:
            self._record_probe(is_failure=is_failure)
        elif self._is_enabled and is_failure is not None:
            requests, failures = self._window.add(is_failure=is_failure)
            if is_failure and requests >= self._min_requests and failures >= self._ratio * requests:
                self._open(requests=requests, failures=failures)

    def open_s(self) -> float:
        """Return the seconds until the next probe; 0 if there may be one now."""
        return 0.0 if self._opened_until is None else max(0.0, self._opened_until - time.monotonic())

    def _record_probe(self, *, is_failure: bool | None) -> None:
        self._is_probing = False
        if is_failure:
            self._open(requests=1, failures=1)
        elif is_failure is not None:
            self._successes += 1
            if self._successes == _PROBES:
                self._permit += 1
                self._opened_until = None
                log.warning("breaker closed", upstream=self._upstream)

    def _open(self, *, requests: int, failures: int) -> None:
        is_first = self._opened_until is None
        open_s = self._pause.pause_s(0)
        self._opened_until = time.monotonic() + open_s
        self._permit += 1
        self._successes = 0
        self._window.clear()
        # Once per outage: an upstream that stays down fails a probe every few seconds.
        if is_first:
            log.error(
                "breaker opened",
                upstream=self._upstream,
                requests=requests,
                failures=failures,
                open_seconds=round(open_s, 3),
            )


class _Window:
    """Numbers of requests and of failures in the last seconds.

    Args:
        seconds: Length of the window.
    """

    def __init__(self, seconds: float) -> None:
        self._step_s = seconds / _STEPS
        self._steps: deque[list[int]] = deque()
        """Number of the step since the start of the clock, requests, failures."""

    def add(self, *, is_failure: bool) -> tuple[int, int]:
        """Count a request; return the numbers of the window."""
        steps, now = self._steps, int(time.monotonic() / self._step_s)
        if not steps or steps[-1][0] != now:
            steps.append([now, 0, 0])
            while steps[0][0] <= now - _STEPS:
                steps.popleft()
        steps[-1][1] += 1
        steps[-1][2] += is_failure
        return sum(step[1] for step in steps), sum(step[2] for step in steps)

    def clear(self) -> None:
        """Forget everything."""
        self._steps.clear()
