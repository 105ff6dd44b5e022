"""Metrics of OpenTelemetry's own SDK, and requests by route."""

import re

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from starkeel_testing import wait_until

from .conftest import Running
from .messages import PROTOBUF, START_NS, span, text, traces


@pytest.mark.parametrize("temporality", list(AggregationTemporality)[1:], ids=lambda each: each.name)
def test_series_of_the_sdk_are_charted(running: Running, temporality: AggregationTemporality) -> None:
    exporter = OTLPMetricExporter(
        endpoint=f"{running.url}/v1/metrics",
        preferred_temporality={Counter: temporality, Histogram: temporality},
    )
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=60_000)
    provider = MeterProvider(
        [reader],
        resource=Resource.create({"service.name": temporality.name}),
        views=[View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation())],
    )
    meter = provider.get_meter("shop")
    counter, gauge = meter.create_counter("orders"), meter.create_gauge("stock")
    durations = [meter.create_histogram(name, unit="ms") for name in ("explicit", "exponential")]

    def charted() -> bool:
        counter.add(5, {"product": "oak"})
        gauge.set(42)
        for histogram in durations:
            histogram.record(30)
        assert provider.force_flush()
        page = running.page(f"/metrics?service={temporality.name}")
        return page.count("<polyline") >= 8

    try:
        wait_until(charted, timeout_s=30, what="a second point of each series")
    finally:
        provider.shutdown()
    page = running.page(f"/metrics?service={temporality.name}")
    assert "stock" in page
    assert ": 42<" in page
    rate = re.search(r"product=oak: ([\d.]+)", page)
    assert rate is not None
    assert float(rate[1]) > 0
    # The value of 30 ms is in the bucket from 25 to 50, and in a narrow one of the exponential histogram.
    middles = [float(found) for found in re.findall(r">p50: ([\d.]+)<", page)]
    assert all(25 <= middle <= 50 for middle in middles), middles


def test_requests_are_counted_by_route_with_their_errors(running: Running) -> None:
    attributes = [text("http.request.method", "GET"), text("http.route", "/items/{id}")]
    sent = [
        span(100 + number, end_time_unix_nano=START_NS + number * 1_000_000, attributes=attributes)
        for number in range(1, 101)
    ]
    for each in sent[:10]:
        each.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR))

    assert running.post("traces", traces(*sent, service="red"), content_type=PROTOBUF).status_code == 200

    page = running.page("/metrics?service=red")
    row = re.sub(r"<[^>]+>", " ", page.partition("GET /items/{id}</a>")[2].partition("</tr>")[0]).split()
    assert row == ["100", "1.67", "10", "%", "51.0", "ms", "96.0", "ms", "100", "ms"]
