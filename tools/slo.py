"""Service level objectives of a service, `slo` in its entry of the registry."""

from collections.abc import Iterator
from math import ceil
from typing import Annotated

import msgspec
from msgspec import Meta

LATENCIES_MS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000)
"""Buckets of `http_requests_duration_seconds` in milliseconds."""
BURNS = {"1h": ("5m", 0.48), "6h": ("30m", 0.2), "1d": ("2h", 0.1), "3d": ("6h", 1 / 30)}
"""By the window of a burn rate: the short window that confirms it, and its share of the objective's days.

0.48 times 30 days is 14.4: 2 % of the budget within one hour. The others are 5 %, 10 % and 10 %.
"""
_HIGHEST_THRESHOLD = 0.9
"""Of an alert, as a share of the requests; close to 1 it would never fire."""

Percent = Annotated[float, Meta(ge=90, le=99.999)]


class Slo(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Objectives, in a window that moves with the time.

    Attributes:
        availability: Percentage of the requests that are answered without a server error (5xx).
        latency_ms: Milliseconds within which a request counts as fast, a bucket of the histogram.
        latency_percent: Percentage of the requests that are fast.
        window_days: Days of the window.
    """

    availability: Percent = 99.9
    latency_ms: int = 500
    latency_percent: Percent = 99.0
    window_days: Annotated[int, Meta(ge=28, le=92)] = 30

    @property
    def failed_budget(self) -> float:
        """Share of the requests that may fail."""
        return round(1 - self.availability / 100, 8)

    @property
    def slow_budget(self) -> float:
        """Share of the requests that may be slow."""
        return round(1 - self.latency_percent / 100, 8)

    @property
    def threshold(self) -> str:
        """Latency in seconds, in the form of the label `le`."""
        return str(self.latency_ms / 1000)

    def problems(self) -> Iterator[str]:
        """Yield what no type expresses, with the field."""
        if self.latency_ms not in LATENCIES_MS:
            near = [
                *[each for each in LATENCIES_MS if each < self.latency_ms][-1:],
                *[each for each in LATENCIES_MS if each > self.latency_ms][:1],
            ]
            yield (
                f"slo.latency_ms: {self.latency_ms} is not a bucket of the histogram of durations:"
                f" choose {' or '.join(map(str, near))}"
            )
        burn = BURNS["1h"][1] * self.window_days
        lowest = ceil((100 - 100 * _HIGHEST_THRESHOLD / burn) * 10) / 10
        for field in ("availability", "latency_percent"):
            percent: float = getattr(self, field)
            if percent < lowest:
                yield (
                    f"slo.{field}: {percent:g} is too low for an alert with `window_days` {self.window_days}:"
                    f" choose at least {lowest:g}, or a shorter window"
                )
