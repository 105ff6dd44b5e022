"""Waiting for conditions."""

import time
from collections.abc import Callable

_INTERVAL_S = 0.01
_LONGEST_INTERVAL_S = 0.1


def until(is_met: Callable[[], bool], timeout_s: float) -> bool:
    """Return whether a condition is met within a time.

    Args:
        is_met: The condition, which is evaluated every 10 ms, and after some seconds every 100 ms.
        timeout_s: Seconds to wait.
    """
    started = time.monotonic()
    while not is_met():
        waited = time.monotonic() - started
        if waited >= timeout_s:
            return is_met()
        time.sleep(min(max(waited / 50, _INTERVAL_S), _LONGEST_INTERVAL_S))
    return True


def until_stable(measure: Callable[[], int], *, quiet_s: float, timeout_s: float) -> None:
    """Wait until a value has not changed for some time.

    Args:
        measure: Returns the value.
        quiet_s: Seconds without a change.
        timeout_s: Seconds to wait at most.
    """
    started = changed = time.monotonic()
    last = measure()
    while (now := time.monotonic()) - changed < quiet_s and now - started < timeout_s:
        time.sleep(_INTERVAL_S)
        if (value := measure()) != last:
            last, changed = value, time.monotonic()
