"""Alert rules: each has a test, a runbook and a receiver."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # has no types

from tools.registry import read

from .conftest import ROOT

STACK = ROOT / "deploy/observability"
RUNBOOKS = ROOT / "docs/runbooks"
BASE = "https://github.com/starkeel/starkeel/blob/main/docs/runbooks"
SEVERITIES = {"critical", "warning", "none"}
_ALERTS = re.compile(r"ALERTS\{alertname=~?\"(?P<names>[\w|]+)\"(?P<more>[^}]*)\}")
_LOG = re.compile(r"^- Log: (.*)$", re.MULTILINE)


def rules(kind: str) -> list[dict[str, Any]]:
    return [
        rule
        for path in sorted((STACK / "rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
        for rule in group["rules"]
        if kind in rule
    ]


ALERTS = rules("alert")
NAMES = sorted({rule["alert"] for rule in ALERTS})
IDS = [f"{rule['alert']}-{rule['labels']['severity']}" for rule in ALERTS]


@pytest.mark.parametrize("rule", ALERTS, ids=IDS)
def test_an_alert_has_a_severity_and_links_to_runbook_and_dashboard(rule: dict[str, Any]) -> None:
    annotations = rule["annotations"]
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in SEVERITIES
    assert annotations.keys() == {"summary", "description", "dashboard", "runbook_url"}
    assert annotations["runbook_url"] == f"{BASE}/{rule['alert']}.md"
    board = re.fullmatch(r"/d/([\w-]+)(\?var-service=\{\{ \$labels\.service \}\})?", annotations["dashboard"])
    assert board is not None
    assert (STACK / f"grafana/dashboards/{board[1]}.json").exists()
    if rule["alert"] != "Watchdog":
        assert "$labels." in annotations["summary"]
        assert "$labels." in annotations["description"]


def test_alerts_and_runbooks_match() -> None:
    assert sorted(path.stem for path in RUNBOOKS.glob("*.md")) == NAMES
    for name in NAMES:
        text = (RUNBOOKS / f"{name}.md").read_text("utf-8")
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert headings == [name, "What it means", "How to see it", "What to do"]
        assert "```promql" in text
        for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
            assert (RUNBOOKS / link).exists(), f"{name}: {link}"


def test_log_lines_quoted_by_runbooks_exist() -> None:
    sources = [*ROOT.glob("packages/*/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]
    code = "\n".join(path.read_text("utf-8") for path in sources)
    quoted = {
        line
        for path in RUNBOOKS.glob("*.md")
        for entry in _LOG.findall(path.read_text("utf-8"))
        for line in re.findall(r"`([a-z]+ [^`]*)`", entry)
    }
    assert len(quoted) > 20
    assert [line for line in sorted(quoted) if f'"{line}' not in code] == []


def test_every_alert_has_a_test_that_fires_and_a_test_that_does_not() -> None:
    fires, silent = set(), set()
    for path in (STACK / "rule_tests").glob("*.yaml"):
        for test in yaml.safe_load(path.read_text("utf-8"))["tests"]:
            for expr_test in test["promql_expr_test"]:
                fires |= {_severity(sample["labels"]) for sample in expr_test["exp_samples"]}
                found = _ALERTS.search(expr_test["expr"])
                if found is not None and not expr_test["exp_samples"]:
                    silent |= set(found["names"].split("|"))
    assert {(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS} == fires - {None}
    # The watchdog fires all the time.
    assert silent == set(NAMES) - {"Watchdog"}


def _severity(labels: str) -> tuple[str, str] | None:
    name = re.search(r'ALERTS\{alertname="(\w+)", alertstate="firing"', labels)
    severity = re.search(r'severity="(\w+)"', labels)
    return (name[1], severity[1]) if name and severity else None


def test_recorded_rates_of_an_objective_differ_only_in_their_window() -> None:
    by_name: dict[str, set[str]] = {}
    windows: dict[str, list[str]] = {}
    for rule in rules("record"):
        name, is_rate, window = rule["record"].partition(":ratio_rate")
        if is_rate and name.startswith("service:http_requests"):
            by_name.setdefault(name, set()).add(rule["expr"].replace(f"[{window}]", "[WINDOW]"))
            windows.setdefault(name, []).append(window)
    assert set(windows) == {"service:http_requests_failed", "service:http_requests_slow"}
    for name, expressions in by_name.items():
        assert len(expressions) == 1, name
        assert windows[name] == ["5m", "30m", "1h", "2h", "6h", "1d", "3d"]


def test_both_objectives_have_the_same_burn_rates() -> None:
    burns = {(rule["alert"], rule["labels"]["severity"]): rule["expr"] for rule in ALERTS}
    for severity in ("critical", "warning"):
        failed, slow = burns["AvailabilityBudgetBurn", severity], burns["LatencyBudgetBurn", severity]
        assert failed.replace("_failed", "_slow") == slow


def test_the_objectives_are_those_of_the_registry() -> None:
    recorded: dict[str, dict[str, float]] = {}
    for rule in rules("record"):
        if "labels" in rule:
            value = float(rule["expr"].removeprefix("vector(").removesuffix(")"))
            recorded.setdefault(rule["labels"]["service"], {})[rule["record"]] = value
    assert recorded == {
        service.name: {
            "service:slo_failed_budget:ratio": pytest.approx(1 - service.slo.availability / 100),
            "service:slo_slow_budget:ratio": pytest.approx(1 - service.slo.latency_percent / 100),
            "service:slo_latency_threshold:seconds": service.slo.latency_ms / 1000,
            "service:slo_window:days": service.slo.window_days,
        }
        for service in read()
    }


def test_routes_and_inhibitions_refer_to_existing_receivers_and_alerts() -> None:
    routing = yaml.safe_load((STACK / "alertmanager.yaml").read_text("utf-8"))
    receivers = {receiver["name"] for receiver in routing["receivers"]}
    used = {routing["route"]["receiver"], *(route["receiver"] for route in routing["route"]["routes"])}
    assert used == receivers
    matchers = [
        matcher
        for rule in routing["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
    ]
    matchers += [matcher for route in routing["route"]["routes"] for matcher in route["matchers"]]
    for name, values in re.findall(r'(\w+)!?=~?"([^"]*)"', "\n".join(matchers)):
        known = {"alertname": set(NAMES), "severity": SEVERITIES}.get(name, {""})
        assert set(values.split("|")) <= known


def test_the_table_of_alerts_in_the_docs_matches_the_rules() -> None:
    text = Path(ROOT / "docs/observability.md").read_text("utf-8")
    rows = re.findall(r"^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \| ([\w, ]+) \|", text, re.MULTILINE)
    severities = {name: [r["labels"]["severity"] for r in ALERTS if r["alert"] == name] for name in NAMES}
    assert {name: levels.split(", ") for name, _, levels in rows} == severities
    assert all(name == page for name, page, _ in rows)


def test_group_names_are_unique() -> None:
    names = [
        group["name"]
        for path in (STACK / "rules").glob("*.yaml")
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    ]
    assert not [name for name, following in pairwise(sorted(names)) if name == following]
