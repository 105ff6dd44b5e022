"""Metrics of an OTLP request."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2

from .._store.metrics import Histogram, Kind, Labels, MetricStore
from .values import attributes, service_name, shorten

_MAX_LABEL: Final = 200
_MAX_BUCKETS: Final = 200
_MAX_AHEAD_S: Final = 60.0
_DELTA: Final = metrics_pb2.AGGREGATION_TEMPORALITY_DELTA
_Point: TypeAlias = (
    metrics_pb2.NumberDataPoint
    | metrics_pb2.HistogramDataPoint
    | metrics_pb2.ExponentialHistogramDataPoint
    | metrics_pb2.SummaryDataPoint
)


class Value(NamedTuple):
    """A data point."""

    kind: Kind
    value: Histogram
    labels: Labels
    at_s: float
    is_delta: bool


def add_metrics(request: ExportMetricsServiceRequest, store: MetricStore) -> set[str]:
    """Add the metrics of a request to a store; return the services that they are of."""
    services = set()
    for resource in request.resource_metrics:
        service = sys.intern(service_name(resource.resource.attributes))
        services.add(service)
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            name = shorten(metric.name, 300)
            for point in _values(metric):
                key = service, name, point.labels
                value = store.accumulate(key, point.value) if point.is_delta else point.value
                store.add(
                    key,
                    value,
                    at_s=point.at_s,
                    kind=point.kind,
                    unit=shorten(metric.unit, 40),
                    description=shorten(metric.description, 500),
                )
    return services


def _values(metric: metrics_pb2.Metric) -> Iterator[Value]:
    match metric.WhichOneof("data"):
        case "gauge":
            for point in metric.gauge.data_points:
                yield _value("gauge", Histogram(0, _number(point), (), ()), point, is_delta=False)
        case "sum":
            kind: Kind = "counter" if metric.sum.is_monotonic else "gauge"
            is_delta = metric.sum.aggregation_temporality == _DELTA
            for point in metric.sum.data_points:
                number = _number(point)
                yield _value(kind, Histogram(number, number, (), ()), point, is_delta=is_delta)
        case "histogram" | "exponential_histogram" | "summary":
            yield from _histograms(metric)


def _histograms(metric: metrics_pb2.Metric) -> Iterator[Value]:
    is_delta = metric.histogram.aggregation_temporality == _DELTA
    for bucketed in metric.histogram.data_points:
        yield _value("histogram", _explicit(bucketed), bucketed, is_delta=is_delta)
    is_delta = metric.exponential_histogram.aggregation_temporality == _DELTA
    for exponential in metric.exponential_histogram.data_points:
        yield _value("histogram", _exponential(exponential), exponential, is_delta=is_delta)
    for summary in metric.summary.data_points:
        value = Histogram(summary.count, summary.sum, (), (float(summary.count),))
        yield _value("histogram", value, summary, is_delta=False)


def _value(kind: Kind, value: Histogram, point: _Point, *, is_delta: bool) -> Value:
    now_s, at_s = time.time(), point.time_unix_nano / 1e9
    # A clock that is wrong must not stretch the axis of time.
    at_s = at_s if abs(at_s - now_s) < _MAX_AHEAD_S else now_s
    return Value(kind, value, _labels(point.attributes), at_s, is_delta)


def _number(point: metrics_pb2.NumberDataPoint) -> float:
    return point.as_double if point.WhichOneof("value") == "as_double" else float(point.as_int)


def _labels(pairs: Iterable[KeyValue]) -> Labels:
    found: dict[str, Any] = attributes(pairs)
    return tuple(sorted((name, shorten(str(value), _MAX_LABEL)) for name, value in found.items()))


def _explicit(point: metrics_pb2.HistogramDataPoint) -> Histogram:
    bounds = tuple(point.explicit_bounds[:_MAX_BUCKETS])
    counts = tuple(map(float, point.bucket_counts[: len(bounds) + 1])) or (float(point.count),)
    return Histogram(float(point.count), point.sum, bounds, counts)


def _exponential(point: metrics_pb2.ExponentialHistogramDataPoint) -> Histogram:
    """Return the positive buckets with their bounds, as OpenTelemetry's data model defines them."""
    counts = point.positive.bucket_counts[:_MAX_BUCKETS]
    scale = min(20, max(-10, point.scale))
    bounds = []
    for place in range(len(counts) + 1):
        exponent = (point.positive.offset + place) * 2.0**-scale
        bounds.append(2.0 ** min(1000.0, max(-1000.0, exponent)))
    # The bounds differ from one point to the next: quantiles are those since the start.
    return Histogram(
        float(point.count), point.sum, tuple(bounds), (float(point.zero_count), *map(float, counts), 0.0)
    )
