"""From a bucket of a histogram to the trace of a request that is in it, whichever worker answered."""

import re
from typing import Any

import httpx2
from prometheus_client.openmetrics.parser import text_string_to_metric_families

OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
DURATIONS = "http_requests_duration_seconds"


def exemplars(sample: Any, family: str, **labels: str) -> dict[str, Any]:
    """Exemplars of a histogram, by the bounds of their buckets."""
    page = httpx2.get(f"{sample.admin}/metrics", headers=OPENMETRICS).text
    return {
        found.labels["le"]: found.exemplar
        for metric in text_string_to_metric_families(page)
        if metric.name == family
        for found in metric.samples
        if found.exemplar is not None and labels.items() <= found.labels.items()
    }


def ask(sample: Any, path: str, trace: str) -> Any:
    # On a connection of its own: any worker may answer.
    return httpx2.get(f"{sample.url}{path}", headers={"traceparent": f"00-{trace}-{'1' * 16}-01"})


def test_a_bucket_shows_a_request_that_is_in_it(samples: Any) -> None:
    sample = samples.ready(WORKERS=2)
    traces, pids = [], set()

    def answered_by_both() -> bool:
        traces.append(f"{len(traces) + 1:032x}")
        pids.add(ask(sample, "/pid", traces[-1]).json()["pid"])
        return len(pids) == 2

    samples.wait_until(answered_by_both, what="both workers")
    slow = "5" * 32
    assert ask(sample, "/slow?seconds=0.3", slow).status_code == 200

    found = samples.wait_until(lambda: exemplars(sample, DURATIONS, path="/slow"), what="an exemplar")
    ((bound, exemplar),) = found.items()
    assert exemplar.labels["trace_id"] == slow
    assert re.fullmatch(r"[0-9a-f]{16}", exemplar.labels["span_id"])
    assert 0.3 <= exemplar.value <= float(bound)
    for exemplar in exemplars(sample, DURATIONS, path="/pid").values():
        assert exemplar.labels["trace_id"] in traces
    # A metric of the service's own: what was observed in a request shows that.
    business = exemplars(sample, "price_euros")
    assert {one.labels["trace_id"] for one in business.values()} <= set(traces)
    assert business["10.0"].value == 3


def test_who_does_not_ask_for_them_gets_none(samples: Any) -> None:
    sample = samples.ready()
    assert ask(sample, "/pid", "7" * 32).status_code == 200
    samples.wait_until(lambda: exemplars(sample, DURATIONS, path="/pid"), what="an exemplar")

    assert "7" * 32 not in httpx2.get(f"{sample.admin}/metrics").text


def test_what_is_not_sent_is_no_example(samples: Any) -> None:
    sample = samples.ready(OTEL_TRACES_SAMPLER="always_off")
    assert ask(sample, "/pid", "7" * 32).status_code == 200
    sample.wait_for_metric(1, "http_requests_total", path="/pid")

    assert exemplars(sample, DURATIONS) == {}


def test_what_is_sent_for_the_sake_of_its_caller_is_an_example(samples: Any) -> None:
    sample = samples.ready(OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0")
    assert httpx2.get(f"{sample.url}/pid").status_code == 200
    sample.wait_for_metric(1, "http_requests_total", path="/pid")
    assert exemplars(sample, DURATIONS) == {}

    assert ask(sample, "/pid", "7" * 32).status_code == 200

    found = samples.wait_until(lambda: exemplars(sample, DURATIONS, path="/pid"), what="an exemplar")
    assert {one.labels["trace_id"] for one in found.values()} == {"7" * 32}
