"""Objectives, scopes and panels of the registry, and what is generated from them."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from starkeel_observability._metrics.api import DURATION_BUCKETS

from tools.generate import dashboards
from tools.registry import ROOT, RegistryError, issuer, read
from tools.slo import LATENCIES_MS, Slo

from ..deployment import test_alerts as alert_checks
from ..deployment import test_observability as dashboard_checks
from ..support.registry import ENTRY, STACK, THIRD, contents, copied, generate, register


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return a copy of what the registry concerns."""
    return copied(tmp_path)


def groups(workspace: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the rules of the objectives by group."""
    found = yaml.safe_load((workspace / STACK / "rules/slo.yaml").read_text())["groups"]
    return {group["name"]: group["rules"] for group in found}


def test_a_service_has_its_own_objectives_and_is_removed_without_a_trace(workspace: Path) -> None:
    assert generate(workspace, "dashboards").returncode == 0
    assert generate(workspace, "fleet").returncode == 0
    before = contents(workspace)
    folder = register(workspace, THIRD, ENTRY)

    assert generate(workspace, "dashboards", "--check").returncode == 1
    assert generate(workspace, "dashboards").returncode == 0
    assert generate(workspace, "fleet").returncode == 0

    rules = groups(workspace)
    values = {
        rule["record"]: rule["expr"]
        for rule in rules["slo-objectives"]
        if rule["labels"] == {"service": THIRD}
    }
    assert values == {
        "service:slo_failed_budget:ratio": "vector(0.005)",
        "service:slo_slow_budget:ratio": "vector(0.05)",
        "service:slo_latency_threshold:seconds": "vector(0.25)",
        "service:slo_window:days": "vector(28)",
    }
    recorded = {
        rule["record"]: rule["expr"] for group in rules.values() for rule in group if "record" in rule
    }
    assert re.search(
        rf'service=~"{THIRD}", [^}}]*le="0.25"', recorded["service:http_requests_slow:ratio_rate5m"]
    )
    assert f'{{service=~"{THIRD}"}}[28d]' in recorded["service:slo_failed_budget_left:ratio"]
    # The alerts are those of all services.
    own = {rule["expr"] for rule in alert_checks.rules("alert")}
    assert {rule["expr"] for rule in rules["slo-alerts"]} <= own
    tests = yaml.safe_load((workspace / STACK / "rule_tests/slo.yaml").read_text())["tests"]
    assert all(any(THIRD in series["series"] for series in test["input_series"]) for test in tests)
    collector = yaml.safe_load((workspace / STACK / "collector.yaml").read_text())
    policies = collector["processors"]["tail_sampling"]["policies"]
    assert [each["latency"]["threshold_ms"] for each in policies if each["type"] == "latency"] == [250]
    issuing = issuer(read())
    assert issuing is not None
    granted = workspace / f"services/{issuing.name}/src/{issuing.name}/scopes.py"
    assert '    "stock:read",\n' in granted.read_text()

    for path in (workspace / STACK / "grafana/dashboards").glob("*.json"):
        board = json.loads(path.read_text())
        dashboard_checks.test_a_dashboard_matches_the_schema(board)
        dashboard_checks.test_panels_fill_the_grid_without_overlap(board)
        dashboard_checks.test_a_panel_has_a_description_and_an_existing_source(board)
    fleet = json.loads((workspace / STACK / "grafana/dashboards/starkeel-fleet.json").read_text())
    assert "Stock" in [panel["title"] for panel in fleet["panels"]]

    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    assert generate(workspace, "dashboards").returncode == 0
    assert generate(workspace, "fleet").returncode == 0
    assert contents(workspace) == before


@pytest.mark.parametrize("panels", range(1, 7))
def test_panels_of_services_fill_their_rows(workspace: Path, panels: int) -> None:
    head, _, panel = ENTRY.partition("[[tool.starkeel.panels]]")
    more = "".join(
        f"[[tool.starkeel.panels]]{panel.replace('Stock', f'Stock {number}')}" for number in range(panels)
    )
    register(workspace, THIRD, head + more)

    files = dashboards.files(workspace, read(workspace))

    board = json.loads(files[workspace / STACK / "grafana/dashboards/starkeel-fleet.json"] or "")
    dashboard_checks.test_panels_fill_the_grid_without_overlap(board)
    titles = [panel["title"] for panel in board["panels"]]
    assert sum(title.startswith("Stock") for title in titles) == panels
    assert "Business" in titles


def test_rules_of_the_team_are_kept_and_reach_kubernetes(workspace: Path) -> None:
    team = workspace / STACK / "rules/team"
    rules = "groups:\n  - name: shop\n    rules: [{record: 'shop:sales:sum', expr: sum(sales)}]\n"
    (team / "shop.yaml").write_text(rules)

    assert generate(workspace, "dashboards").returncode == 0

    assert (team / "shop.yaml").read_text() == rules
    resource = yaml.safe_load((workspace / STACK / "kubernetes/rules.yaml").read_text())
    assert resource["spec"]["groups"][-1] == yaml.safe_load(rules)["groups"][0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("groups: [{name: slo, rules: []}]", "the group 'slo' exists twice: rename it"),
        ("[]", "is not a file of rules: it needs `groups`"),
        ("groups: [", "is not a file of rules"),
        ("groups: [{rules: []}]", "with a `name` each"),
    ],
)
def test_invalid_rules_of_the_team_are_refused(workspace: Path, text: str, message: str) -> None:
    (workspace / STACK / "rules/team/shop.yaml").write_text(text)
    before = contents(workspace)

    done = generate(workspace, "dashboards")

    assert done.returncode == os.EX_CONFIG
    assert done.stderr.startswith("deploy/observability/rules/team/shop.yaml: ")
    assert message in done.stderr
    assert contents(workspace) == before


@pytest.mark.parametrize(
    ("given", "replaced", "message"),
    [
        ("availability = 99.5", "availability = 100", "<= 99.999 - at `$.slo.availability`"),
        ("availability = 99.5", "availability = -1", ">= 90.0 - at `$.slo.availability`"),
        ("availability = 99.5", "availability = nan", "at `$.slo.availability`"),
        ("availability = 99.5", 'availability = "99.5"', "got `str` - at `$.slo.availability`"),
        ("availability = 99.5", "uptime = 99.5", "unknown field `uptime` - at `$.slo`"),
        ("availability = 99.5", "availability = 90", "slo.availability: 90 is too low for an alert with"),
        ("latency_percent = 95", "latency_percent = 93.2", "slo.latency_percent: 93.2 is too low"),
        ("latency_percent = 95", "latency_percent = 0", "at `$.slo.latency_percent`"),
        ("latency_ms = 250", "latency_ms = 300", "slo.latency_ms: 300 is not a bucket"),
        ("latency_ms = 250", "latency_ms = 300", "choose 250 or 500"),
        ("latency_ms = 250", "latency_ms = -1", "is not a bucket of the histogram of durations: choose 5"),
        ("window_days = 28", "window_days = 7", ">= 28 - at `$.slo.window_days`"),
        ("stock:read", "two words", "at `$.scopes[0]`"),
        ("stock:read", 'stock:read", "stock:read', "scopes: 'stock:read' is that of third_service"),
        ('"database", "tokens"', '"database"', "scopes: the service verifies no tokens: add `tokens`"),
        ("Items that were counted, by shelf.", "Items.", "at `$.panels[0].description`"),
        ("expr =", "query =", "at `$.panels[0].queries[0]`"),
    ],
)
def test_an_invalid_entry_is_refused(workspace: Path, given: str, replaced: str, message: str) -> None:
    assert given in ENTRY
    register(workspace, THIRD, ENTRY.replace(given, replaced))

    with pytest.raises(RegistryError) as raised:
        read(workspace)

    assert str(raised.value).startswith(f"services/{THIRD}/pyproject.toml: [tool.starkeel]: ")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_two_services_cannot_own_a_scope_and_nothing_is_written(workspace: Path) -> None:
    register(workspace, THIRD, ENTRY)
    other = ENTRY.replace("3900", "3901").replace("9990", "9991").replace("/api/stock", "/api/shelves")
    register(workspace, "fourth_service", other)
    before = contents(workspace)

    done = generate(workspace, "dashboards")

    assert done.returncode == os.EX_CONFIG
    assert done.stderr == (
        "services/fourth_service/pyproject.toml: [tool.starkeel]:"
        f" scopes: 'stock:read' is that of {THIRD}: choose another name\n"
    )
    assert contents(workspace) == before


def test_latencies_are_buckets_of_the_histogram() -> None:
    assert [latency / 1000 for latency in LATENCIES_MS] == list(DURATION_BUCKETS)


def test_the_documented_defaults_are_those_of_the_objectives() -> None:
    text = (ROOT / "docs/fleet.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `slo\.(\w+)` \| `([\d.]+)` \|", text, re.MULTILINE))
    assert {name: float(value) for name, value in rows.items()} == {
        name: getattr(Slo(), name) for name in Slo.__struct_fields__
    }
