"""Metrics of a service's own, whose labels cannot grow without end."""

from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase

OTHER: Final = "__other__"
"""The value of every label of what came after the most that there may be."""
MOST_SERIES: Final = 1000
"""Combinations of labels of one metric in one process."""


class _Capped(MetricWrapperBase):
    """Gives the combinations that come too late one series together."""

    def labels(self: Any, *labelvalues: Any, **labelkwargs: Any) -> Any:
        """As `prometheus_client` has it."""
        if len(self._metrics) >= MOST_SERIES and self._key(labelvalues, labelkwargs) not in self._metrics:
            labelvalues, labelkwargs = (OTHER,) * len(self._labelnames), {}
        return super().labels(*labelvalues, **labelkwargs)

    def _key(self, values: tuple[Any, ...], named: dict[str, Any]) -> tuple[str, ...]:
        # One that is wrong is told of by the call itself.
        return (
            tuple(str(named.get(name, "")) for name in self._labelnames) if named else tuple(map(str, values))
        )


class CappedCounter(_Capped, Counter):
    """A counter."""

    def values(self) -> list[Any]:
        """Its one number, as `prometheus_client` keeps it."""
        return [self._value]


class CappedGauge(_Capped, Gauge):
    """A gauge."""

    def values(self) -> list[Any]:
        """Its one number, as `prometheus_client` keeps it."""
        return [self._value]


class CappedHistogram(_Capped, Histogram):
    """A histogram."""

    def values(self) -> list[Any]:
        """Its sum, then how many there are in each bucket alone."""
        return [self._sum, *self._buckets]
