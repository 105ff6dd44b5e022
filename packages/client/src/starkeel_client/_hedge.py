"""When a read is sent a second time, because its response takes longer than usual."""

from collections import deque
from typing import Final, final

from ._attempt import Call
from ._settings import UpstreamSettings

_READS: Final = frozenset({"GET", "HEAD"})
_QUANTILE: Final = 0.95
_MIN_SAMPLES: Final = 40
"""Below, the quantile would be that of a few responses."""
_MAX_SAMPLES: Final = 400
_STEP: Final = 20
"""Responses between two calculations of the quantile."""
_MAX_ROUTES: Final = 200


@final
class HedgePolicy:
    """Delay of the second request: fixed, or the 95th percentile of the route's recent responses."""

    def __init__(self, settings: UpstreamSettings) -> None:
        self._is_enabled = settings.hedge_reads
        self._fixed_s = settings.hedge_delay_s
        self._durations: dict[str | None, _Durations] = {}

    def delay_s(self, call: Call) -> float | None:
        """Return the seconds after which a call may be sent again; `None` if it may not."""
        if not self._is_enabled or call.method not in _READS:
            return None
        delay_s = self._fixed_s
        if delay_s is None and (durations := self._durations.get(call.route)) is not None:
            delay_s = durations.quantile_s
        return delay_s if delay_s is not None and delay_s < call.left_s() else None

    def record(self, call: Call, seconds: float) -> None:
        """Record the time from the first request of a call to its response."""
        if not self._is_enabled or self._fixed_s is not None or call.method not in _READS:
            return
        durations = self._durations.get(call.route)
        if durations is None:
            # Routes are templates, and few; a caller that passes paths instead must not use up memory.
            if len(self._durations) >= _MAX_ROUTES:
                return
            durations = self._durations[call.route] = _Durations()
        durations.add(seconds)


class _Durations:
    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_MAX_SAMPLES)
        self._added = 0
        self.quantile_s: float | None = None

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)
        self._added += 1
        if self._added >= _MIN_SAMPLES and self._added % _STEP == 0:
            ordered = sorted(self._seconds)
            self.quantile_s = ordered[int(len(ordered) * _QUANTILE)]
