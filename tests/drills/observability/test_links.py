"""From an alert to a metric, its trace and its log line: every link as Grafana would follow it."""

import re
from typing import Any

import yaml
from starkeel_testing import Span, wait_until

from .queries import asked_by_dashboards
from .scenario import is_late
from .stack_processes import STACK
from .watched_fleet import Fleet

_SOURCES = {
    source["uid"]: source["jsonData"]
    for source in yaml.safe_load(
        (STACK / "grafana/provisioning/datasources/datasources.yaml").read_text("utf-8")
    )["datasources"]
}
# What the collector makes of a line: these are labels of Loki's, the other fields stand beside the line.
_LABELS = {"service_name": "service"}
_INTRINSICS = {"status", "kind", "duration", "name"}


def test_a_failed_request_is_followed_from_its_span_to_its_line(watched: Fleet) -> None:
    span = _spans(watched, lambda one: one.kind == "server" and one.status == "error")[0]
    link = _SOURCES["tempo"]["tracesToLogsV2"]
    assert link["datasourceUid"] in _SOURCES
    assert span.resource["service.name"] == span.service

    query = _filled(link["query"], span)

    lines = _lines(watched, query)
    assert {line["trace_id"] for line in lines} == {span.trace_id}
    assert "request completed" in {line["message"] for line in lines}


def test_a_line_leads_to_its_trace(watched: Fleet) -> None:
    (link,) = _SOURCES["loki"]["derivedFields"]
    assert (link["matcherType"], link["url"]) == ("label", "$${__value.raw}")
    assert link["datasourceUid"] in _SOURCES
    line = _lines(watched, '{service_name="orders"} | level="ERROR"')[-1]
    assert watched.spans.spans(line[link["matcherRegex"]])


def test_a_span_leads_to_the_metrics_of_its_service(watched: Fleet) -> None:
    span = _spans(watched, lambda one: one.kind == "server")[0]
    link = _SOURCES["tempo"]["tracesToMetrics"]
    tags = ",".join(f'{tag["value"]}="{span.resource[tag["key"]]}"' for tag in link["tags"])
    for query in link["queries"]:
        assert watched.prometheus.query(query["query"].replace("$$__tags", tags)), query


def test_log_panels_ask_for_what_lines_have(watched: Fleet) -> None:
    asked = asked_by_dashboards("loki")
    assert asked
    for one in asked:
        assert _lines(watched, one.expr), one


def test_trace_panels_ask_for_what_spans_have(watched: Fleet) -> None:
    asked = asked_by_dashboards("tempo")
    assert asked
    known = {f"resource.{name}" for span in watched.spans.spans() for name in span.resource} | _INTRINSICS
    for one in asked:
        assert set(re.findall(r"([\w.]+)\s*(?:=~|=|>)", one.expr)) <= known, one
    assert any(map(is_late, watched.spans.spans()))


def _spans(fleet: Fleet, wanted: Any) -> list[Span]:
    found = wait_until(lambda: [span for span in fleet.spans.spans() if wanted(span)], timeout_s=30)
    return sorted(found, key=lambda span: span.start_ns)


def _filled(template: str, span: Span) -> str:
    """Fill a template in as Grafana does, after its own reading of the file has halved the dollar signs."""
    template = template.replace("$$", "$").replace("${__span.traceId}", span.trace_id)
    return re.sub(r'\$\{__span\.tags\["([\w.]+)"\]\}', lambda found: str(span.resource[found[1]]), template)


def _lines(fleet: Fleet, query: str) -> list[dict[str, Any]]:
    """Lines that a query of the form `{label="..."} | field="..."` selects."""
    found = re.fullmatch(r'\{(\w+)=~?"([\w|]+)"\}((?: \| \w+="\w+")*)', query)
    assert found is not None, query
    wanted = dict(re.findall(r'(\w+)="(\w+)"', found[3]))
    lines = [line for service in fleet.services for line in service.logs()]
    chosen = [line for line in lines if re.fullmatch(found[2], line[_LABELS[found[1]]])]
    return [line for line in chosen if wanted.items() <= line.items()]
