"""Prometheus' text format, as the admin port of a service exposes it."""

import math
from collections.abc import Iterator
from typing import Final

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from .._store.metrics import Histogram, Kind, Labels, MetricStore

_KINDS: Final[dict[str, Kind]] = {"counter": "counter", "histogram": "histogram"}


def add_exposition(
    text: str, store: MetricStore, *, service: str, at_s: float, left_out: frozenset[str]
) -> None:
    """Add all metrics of a text to a store.

    Args:
        text: Exposition of a service.
        store: Where to add them.
        service: Name of the service.
        at_s: Time in seconds since 1970.
        left_out: Values of the label `path` whose series are left out.

    Raises:
        ValueError: The text is not in this format.
    """
    for family in text_string_to_metric_families(text):
        kind = _KINDS.get(family.type, "gauge")
        for name, labels, value in _histograms(family) if kind == "histogram" else _numbers(family):
            if not math.isfinite(value.sum) or dict(labels).get("path") in left_out:
                continue
            store.add((service, name, labels), value, at_s=at_s, kind=kind, description=family.documentation)


def _numbers(family: Metric) -> Iterator[tuple[str, Labels, Histogram]]:
    for sample in family.samples:
        if not sample.name.endswith("_created"):
            yield sample.name, _labels(sample), Histogram(sample.value, sample.value, (), ())


def _histograms(family: Metric) -> Iterator[tuple[str, Labels, Histogram]]:
    cumulative: dict[Labels, list[tuple[float, float]]] = {}
    sums: dict[Labels, float] = {}
    for sample in family.samples:
        if sample.name.endswith("_bucket"):
            cumulative.setdefault(_labels(sample), []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_sum"):
            sums[_labels(sample)] = sample.value
    for labels, buckets in cumulative.items():
        buckets.sort()
        counts = [value for _, value in buckets]
        single = tuple(after - before for before, after in zip([0.0, *counts], counts, strict=False))
        bounds = tuple(bound for bound, _ in buckets if math.isfinite(bound))
        yield family.name, labels, Histogram(counts[-1], sums.get(labels, 0.0), bounds, single)


def _labels(sample: Sample) -> Labels:
    return tuple(sorted((name, value) for name, value in sample.labels.items() if name != "le"))
