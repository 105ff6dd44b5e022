"""What a service measured, read from its admin port."""

from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample


def parsed(text: str) -> list[Sample]:
    """Return every sample of Prometheus' text format."""
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def total(samples: Iterable[Sample], name: str, labels: dict[str, str]) -> float:
    """Add up the samples of that name that have those labels, whatever others they have; 0.0 for none."""
    return float(
        sum(
            sample.value
            for sample in samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )
    )
