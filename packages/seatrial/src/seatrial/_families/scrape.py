"""Reading of a service's metrics, and which of them count requests."""

import time
from collections.abc import Callable

from .._rows.verdict import Undecided
from .._target.client import Client
from .._target.service import Service
from .exposition import Exposition, FormatError, Sample, parse

SETTLE_S = 0.25
"""Seconds between two readings: counters may be published in batches."""
SETTLE_ROUNDS = 10

_METHODS = {"method", "http_method", "http_request_method", "request_method", "verb"}
_STATUSES = {"status", "code", "status_code", "http_status", "http_status_code", "http_response_status_code"}


def endpoint(service: Service) -> tuple[Client, str]:
    """Return the client and path of the metrics; raises `Undecided` without any."""
    if service.metrics is None:
        raise Undecided("No metrics were found: set paths.metrics, or pass --admin URL of their port.")
    return service.metrics


def read_metrics(service: Service) -> Exposition:
    """Return the metrics; raises `Undecided` if they do not parse."""
    client, path = endpoint(service)
    try:
        return parse(client.get(path).text)
    except FormatError as error:
        raise Undecided(f"The metrics do not parse: see metrics-format ({error}).") from error


def _is_request_counter(found: Exposition, sample: Sample) -> bool:
    name = sample.name.lower()
    is_counted = name.endswith(("_total", "_count")) or found.types.get(sample.name) == "counter"
    return is_counted and bool(sample.labels.keys() & _STATUSES) and bool(sample.labels.keys() & _METHODS)


def counters_of(found: Exposition) -> list[Sample]:
    """Return the samples of the counter of requests; histograms of durations count as well."""
    candidates = [sample for sample in found.samples if _is_request_counter(found, sample)]
    names = sorted(
        {sample.name for sample in candidates}, key=lambda name: (not name.endswith("_total"), name)
    )
    preferred = [name for name in names if "request" in name and "client" not in name] or names
    return [sample for sample in candidates if preferred and sample.name == preferred[0]]


def total(samples: list[Sample], keep: Callable[[Sample], bool] = lambda _: True) -> float:
    """Return the sum of the samples that are kept."""
    return sum(sample.value for sample in samples if keep(sample))


def status_of(sample: Sample) -> str:
    """Return the label of the status."""
    return next(value for name, value in sample.labels.items() if name in _STATUSES)


def warm(service: Service) -> tuple[list[Sample], float]:
    """Return the counters of requests, and how much each reading raises them.

    One request to a path that exists and one to a path that does not are sent before. On a port of their own,
    reading the metrics raises nothing.

    Raises:
        Undecided: No counter of requests was found.
    """
    service.client.get(service.readable_path)
    service.client.get(service.missing_path)
    counters = counters_of(read_metrics(service))
    per_read = None
    for _ in range(SETTLE_ROUNDS):
        time.sleep(SETTLE_S)
        latest = counters_of(read_metrics(service))
        grown = total(latest) - total(counters)
        counters = latest
        if grown == per_read:
            break
        per_read = grown
    if not counters:
        raise Undecided("No counter of requests was found: see metrics-requests.")
    return counters, per_read or 0.0
