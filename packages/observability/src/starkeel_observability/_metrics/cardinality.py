"""Metrics of a service's own, whose labels cannot grow without end."""

import time
from typing import Any, Final

from opentelemetry import trace
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.samples import Exemplar

OTHER: Final = "__other__"
"""The value of every label of what came after the most that there may be."""
MOST_SERIES: Final = 1000
"""Combinations of labels of one metric in one process."""

EXEMPLAR_INTERVAL_S: Final = 1.0
"""Seconds after which an exemplar makes room for another: nobody scrapes more often."""


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
    """A histogram, whose exemplars are the traces that it is observed in."""

    _exemplars_due = 0.0

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """As `prometheus_client` has it; once a second the trace that is current becomes an exemplar."""
        if exemplar is None:
            now = time.monotonic()
            if now >= self._exemplars_due and (exemplar := _current()) is not None:
                self._exemplars_due = now + EXEMPLAR_INTERVAL_S
        super().observe(amount, exemplar)

    def values(self) -> list[Any]:
        """Its sum, then how many there are in each bucket alone."""
        return [self._sum, *self._buckets]

    def set_exemplar(self, bucket: int, amount: float, labels: dict[str, str]) -> None:
        """Keep an example of what is in a bucket.

        Args:
            bucket: Its number.
            amount: What was observed.
            labels: Where to find it.
        """
        self._buckets[bucket].set_exemplar(Exemplar(labels, amount, time.time()))


def _current() -> dict[str, str] | None:
    """The current trace, if it is one that is sent."""
    span = trace.get_current_span().get_span_context()
    if not span.is_valid or not span.trace_flags.sampled:
        return None
    return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
