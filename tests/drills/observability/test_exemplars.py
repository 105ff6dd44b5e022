"""From an exemplar in Prometheus to the trace of its request and its log line."""

import re
import time

import yaml
from starkeel_testing import wait_until

from .stack_processes import STACK
from .watched_fleet import WatchedFleet


def test_an_exemplar_leads_to_a_trace_and_its_log_line(watched: WatchedFleet) -> None:
    sources = yaml.safe_load(
        (STACK / "grafana/provisioning/datasources/datasources.yaml").read_text("utf-8")
    )["datasources"]
    (link,) = next(source["jsonData"] for source in sources if source["uid"] == "prometheus")[
        "exemplarTraceIdDestinations"
    ]
    query = 'http_requests_duration_seconds_bucket{service="orders"}'

    def exemplars() -> list[str]:
        now = time.time()
        found = watched.prometheus.get("/query_exemplars", query=query, start=str(now - 3600), end=str(now))
        return [exemplar["labels"][link["name"]] for series in found for exemplar in series["exemplars"]]

    ids = set(wait_until(exemplars, timeout_s=60, what="exemplars in Prometheus"))
    assert all(re.fullmatch(r"[0-9a-f]{32}", trace_id) for trace_id in ids)

    followed = wait_until(
        lambda: [trace_id for trace_id in ids if watched.spans.spans(trace_id)], timeout_s=60, what="a trace"
    )
    lines = {line.get("trace_id") for service in watched.services for line in service.logs()}
    assert lines.issuperset(followed)
