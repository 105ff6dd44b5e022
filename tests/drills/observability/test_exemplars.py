"""From a histogram as Prometheus keeps it to the trace of one request, and on to its line."""

import re
import time

import yaml
from starkeel_testing import wait_until

from .stack_processes import STACK
from .watched_fleet import Fleet


def test_a_bucket_leads_to_a_trace_and_its_line(watched: Fleet) -> None:
    sources = yaml.safe_load(
        (STACK / "grafana/provisioning/datasources/datasources.yaml").read_text("utf-8")
    )["datasources"]
    (link,) = next(one["jsonData"] for one in sources if one["uid"] == "prometheus")[
        "exemplarTraceIdDestinations"
    ]
    query = 'http_requests_duration_seconds_bucket{service="orders"}'

    def kept() -> list[str]:
        now = time.time()
        found = watched.prometheus.get("/query_exemplars", query=query, start=str(now - 3600), end=str(now))
        return [one["labels"][link["name"]] for series in found for one in series["exemplars"]]

    ids = set(wait_until(kept, timeout_s=60, what="exemplars in Prometheus"))
    assert all(re.fullmatch(r"[0-9a-f]{32}", trace_id) for trace_id in ids)

    followed = wait_until(
        lambda: [trace_id for trace_id in ids if watched.spans.spans(trace_id)], timeout_s=60, what="a trace"
    )
    lines = {line.get("trace_id") for service in watched.services for line in service.logs()}
    assert lines.issuperset(followed)
