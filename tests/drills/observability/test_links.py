"""Links between metrics, traces and log lines, followed as Grafana does."""

import re
from typing import Any

import yaml
from starkeel_testing import Span, wait_until

from .queries import dashboard_queries
from .scenario import is_late
from .stack_processes import STACK
from .watched_fleet import WatchedFleet

_SOURCES = {
    source["uid"]: source["jsonData"]
    for source in yaml.safe_load(
        (STACK / "grafana/provisioning/datasources/datasources.yaml").read_text("utf-8")
    )["datasources"]
}
# Loki's labels, with the fields they are made of; the other fields are structured metadata.
_LABELS = {"service_name": "service"}
_INTRINSICS = {"status", "kind", "duration", "name"}


def test_the_span_of_a_failed_request_leads_to_its_log_line(watched: WatchedFleet) -> None:
    span = _spans(watched, lambda found: found.kind == "server" and found.status == "error")[0]
    link = _SOURCES["tempo"]["tracesToLogsV2"]
    assert link["datasourceUid"] in _SOURCES
    assert span.resource["service.name"] == span.service

    query = _filled(link["query"], span)

    lines = _lines(watched, query)
    assert {line["trace_id"] for line in lines} == {span.trace_id}
    assert "request completed" in {line["message"] for line in lines}


def test_a_log_line_leads_to_its_trace(watched: WatchedFleet) -> None:
    (link,) = _SOURCES["loki"]["derivedFields"]
    assert (link["matcherType"], link["url"]) == ("label", "$${__value.raw}")
    assert link["datasourceUid"] in _SOURCES
    lines = _lines(watched, '{service_name="orders"} | level="ERROR"')
    # Lines outside of requests have none, such as those about the storage of rate limits.
    line = [line for line in lines if "trace_id" in line][-1]
    assert watched.spans.spans(line[link["matcherRegex"]])


def test_a_span_leads_to_the_metrics_of_its_service(watched: WatchedFleet) -> None:
    span = _spans(watched, lambda found: found.kind == "server")[0]
    link = _SOURCES["tempo"]["tracesToMetrics"]
    tags = ",".join(f'{tag["value"]}="{span.resource[tag["key"]]}"' for tag in link["tags"])
    for query in link["queries"]:
        assert watched.prometheus.query(query["query"].replace("$$__tags", tags)), query


def test_queries_of_log_panels_match_lines(watched: WatchedFleet) -> None:
    queries = dashboard_queries("loki")
    assert queries
    for query in queries:
        assert _lines(watched, query.expr), query


def test_queries_of_trace_panels_use_existing_attributes(watched: WatchedFleet) -> None:
    queries = dashboard_queries("tempo")
    assert queries
    known = {f"resource.{name}" for span in watched.spans.spans() for name in span.resource} | _INTRINSICS
    for query in queries:
        assert set(re.findall(r"([\w.]+)\s*(?:=~|=|>)", query.expr)) <= known, query
    assert any(map(is_late, watched.spans.spans()))


def _spans(fleet: WatchedFleet, condition: Any) -> list[Span]:
    found = wait_until(lambda: [span for span in fleet.spans.spans() if condition(span)], timeout_s=30)
    return sorted(found, key=lambda span: span.start_ns)


def _filled(template: str, span: Span) -> str:
    """Fill in a template as Grafana does; `$$` in a provisioning file is a dollar sign."""
    template = template.replace("$$", "$").replace("${__span.traceId}", span.trace_id)
    return re.sub(r'\$\{__span\.tags\["([\w.]+)"\]\}', lambda found: str(span.resource[found[1]]), template)


def _lines(fleet: WatchedFleet, query: str) -> list[dict[str, Any]]:
    """Return the lines selected by a query of the form `{label="..."} | field="..."`."""
    found = re.fullmatch(r'\{(\w+)=~?"([\w|]+)"\}((?: \| \w+="\w+")*)', query)
    assert found is not None, query
    fields = dict(re.findall(r'(\w+)="(\w+)"', found[3]))
    lines = [line for service in fleet.services for line in service.logs()]
    chosen = [line for line in lines if re.fullmatch(found[2], line[_LABELS[found[1]]])]
    return [line for line in chosen if fields.items() <= line.items()]
