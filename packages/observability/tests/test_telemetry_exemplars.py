"""Exemplars: traces of requests in the buckets of a histogram, from any worker."""

import re
from typing import Any

import httpx2
from prometheus_client.openmetrics.parser import text_string_to_metric_families

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
DURATIONS = "http_requests_duration_seconds"


def exemplars(sample: Any, family: str, **labels: str) -> dict[str, Any]:
    """Return the exemplars of a histogram by bucket bound."""
    page = httpx2.get(f"{sample.admin}/metrics", headers=OPENMETRICS).text
    return {
        found.labels["le"]: found.exemplar
        for metric in text_string_to_metric_families(page)
        if metric.name == family
        for found in metric.samples
        if found.exemplar is not None and labels.items() <= found.labels.items()
    }


def send(sample: Any, path: str, trace: str) -> Any:
    # On a new connection, which any worker may accept.
    return httpx2.get(f"{sample.url}{path}", headers={"traceparent": f"00-{trace}-{'1' * 16}-01"})


def test_an_exemplar_is_a_request_in_its_bucket(samples: Any) -> None:
    sample = samples.ready(WORKERS=2)
    traces, pids = [], set()

    def both_have_responded() -> bool:
        traces.append(f"{len(traces) + 1:032x}")
        pids.add(send(sample, "/pid", traces[-1]).json()["pid"])
        return len(pids) == 2

    samples.wait_until(both_have_responded, what="both workers")
    slow = "5" * 32
    assert send(sample, "/slow?seconds=0.3", slow).status_code == 200

    found = samples.wait_until(lambda: exemplars(sample, DURATIONS, path="/slow"), what="an exemplar")
    ((bound, exemplar),) = found.items()
    assert exemplar.labels["trace_id"] == slow
    assert re.fullmatch(r"[0-9a-f]{16}", exemplar.labels["span_id"])
    assert 0.3 <= exemplar.value <= float(bound)
    for exemplar in exemplars(sample, DURATIONS, path="/pid").values():
        assert exemplar.labels["trace_id"] in traces
    # A histogram of the service has the trace of the request that observed it.
    business = exemplars(sample, "price_euros")
    assert {exemplar.labels["trace_id"] for exemplar in business.values()} <= set(traces)
    assert business["10.0"].value == 3


def test_exemplars_are_only_in_openmetrics(samples: Any) -> None:
    sample = samples.ready()
    assert send(sample, "/pid", "7" * 32).status_code == 200
    samples.wait_until(lambda: exemplars(sample, DURATIONS, path="/pid"), what="an exemplar")

    assert "7" * 32 not in httpx2.get(f"{sample.admin}/metrics").text


def test_unsampled_traces_are_not_exemplars(samples: Any) -> None:
    sample = samples.ready(OTEL_TRACES_SAMPLER="always_off")
    assert send(sample, "/pid", "7" * 32).status_code == 200
    sample.wait_for_metric(1, "http_requests_total", path="/pid")

    assert exemplars(sample, DURATIONS) == {}


def test_traces_sampled_by_the_caller_are_exemplars(samples: Any) -> None:
    sample = samples.ready(OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0")
    assert httpx2.get(f"{sample.url}/pid").status_code == 200
    sample.wait_for_metric(1, "http_requests_total", path="/pid")
    assert exemplars(sample, DURATIONS) == {}

    assert send(sample, "/pid", "7" * 32).status_code == 200

    found = samples.wait_until(lambda: exemplars(sample, DURATIONS, path="/pid"), what="an exemplar")
    assert {exemplar.labels["trace_id"] for exemplar in found.values()} == {"7" * 32}
