"""The telemetry stack's configuration and dashboards, parsed: not every part can be started in the tests."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # has no types
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from starkeel_config import load
from starkeel_observability import ObservabilitySettings

from tools.registry import read

from .conftest import ROOT

STACK = ROOT / "deploy/observability"
DASHBOARDS = STACK / "grafana/dashboards"
BOARDS: list[dict[str, Any]] = [
    json.loads(path.read_text("utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))
]
UIDS = [board["uid"] for board in BOARDS]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text("utf-8"))["services"]
WIDTH = 24


def document(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((STACK / name).read_text("utf-8"))
    return found


SOURCES = {
    source["uid"]: source
    for source in document("grafana/provisioning/datasources/datasources.yaml")["datasources"]
}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_the_dashboards_have_the_ids_that_links_use() -> None:
    assert UIDS == [
        "starkeel-database", "starkeel-fleet", "starkeel-runtime", "starkeel-service", "starkeel-work"
    ]  # fmt: skip
    assert all((STACK / f"grafana/dashboards/{uid}.json").exists() for uid in UIDS)


@pytest.mark.parametrize("board", BOARDS, ids=UIDS)
def test_a_dashboard_matches_the_schema(board: dict[str, Any]) -> None:
    register_default_plugins()
    # The models drop every field that is not in the schema.
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(board))) == board
    assert board["schemaVersion"] == 41
    assert [variable["name"] for variable in board["templating"]["list"]] == ["service", "instance"]


@pytest.mark.parametrize("board", BOARDS, ids=UIDS)
def test_panels_fill_the_grid_without_overlap(board: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= WIDTH
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"], (x, y)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    # Every row of panels fills the width.
    lowest = max(y for _, y in taken) + 1
    assert len(taken) == WIDTH * lowest


@pytest.mark.parametrize("board", BOARDS, ids=UIDS)
def test_a_panel_has_a_description_and_an_existing_source(board: dict[str, Any]) -> None:
    for panel in panels(board):
        assert len(panel["description"]) > 20, panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters))
        for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
            assert SOURCES[source["uid"]]["type"] == source["type"]
        for target in panel["targets"]:
            if target["datasource"]["type"] == "prometheus":
                assert target["legendFormat"], panel["title"]


def test_panels_and_columns_that_runbooks_mention_exist() -> None:
    names: dict[str, set[str]] = {board["title"]: set() for board in BOARDS}
    for board in BOARDS:
        for panel in panels(board):
            columns = [target.get("legendFormat", "") for target in panel["targets"]]
            names[board["title"]] |= {panel["title"], *columns}
    texts = [path.read_text("utf-8") for path in (ROOT / "docs/runbooks").glob("*.md")]
    mentioned = [
        (title, name)
        for text in texts
        for title, line in re.findall(r"^Dashboard \*(Starkeel: [\w ]+)\*:(.*)$", text, re.MULTILINE)
        for name in re.findall(r"`([A-Z][^`]*)`", line)
    ]
    assert len(mentioned) > 5
    assert [(title, name) for title, name in mentioned if name not in names[title]] == []


def test_durations_have_exemplars() -> None:
    shown = {
        panel["title"]
        for board in BOARDS
        for panel in panels(board)
        for target in panel["targets"]
        if target.get("exemplar")
    }
    assert shown == {"Duration, p99", "Duration", "Durations"}
    assert "--enable-feature=exemplar-storage" in COMPOSE["prometheus"]["command"]


def test_sources_link_to_existing_sources() -> None:
    text = json.dumps(list(SOURCES.values()))
    assert (
        set(re.findall(r'"datasourceUid": "(\w+)"', text))
        == {"prometheus", "tempo", "loki"}
        <= SOURCES.keys()
    )
    interval = document("prometheus.yaml")["global"]["scrape_interval"]
    assert SOURCES["prometheus"]["jsonData"]["timeInterval"] == interval


def test_the_collector_keeps_failed_and_slow_traces() -> None:
    collector = document("collector.yaml")
    for pipeline in collector["service"]["pipelines"].values():
        assert set(pipeline["processors"]) <= collector["processors"].keys()
        assert pipeline["processors"][0] == "memory_limiter"
        assert pipeline["processors"][-1] == "batch"
    sampling = collector["processors"]["tail_sampling"]
    assert "tail_sampling" in collector["service"]["pipelines"]["traces"]["processors"]
    policies = {policy["type"]: policy[policy["type"]] for policy in sampling["policies"]}
    assert policies["status_code"] == {"status_codes": ["ERROR"]}
    assert 0 < policies["probabilistic"]["sampling_percentage"] <= 100
    assert policies["latency"]["threshold_ms"] == min(service.slo.latency_ms for service in read())
    settings = load(ObservabilitySettings, {}, service="any")
    assert float(sampling["decision_wait"].removesuffix("s")) * 1000 > settings.bsp_schedule_delay_ms


def test_stored_telemetry_has_a_retention() -> None:
    loki = document("loki.yaml")
    assert loki["compactor"]["retention_enabled"] is True
    assert loki["limits_config"]["retention_period"] == "168h"
    assert document("tempo.yaml")["compactor"]["compaction"]["block_retention"] == "72h"
    (retention,) = [
        flag.removeprefix("--storage.tsdb.retention.time=").removesuffix("d")
        for flag in COMPOSE["prometheus"]["command"]
        if flag.startswith("--storage.tsdb.retention.time=")
    ]
    assert int(retention) > max(service.slo.window_days for service in read())


def test_rules_and_dashboards_are_mounted_where_they_are_read() -> None:
    mounted = {
        name: dict(volume.split(":")[1::-1] for volume in COMPOSE[name]["volumes"])
        for name in ("prometheus", "grafana")
    }
    rules, of_team = document("prometheus.yaml")["rule_files"]
    assert mounted["prometheus"][rules.removesuffix("/*.yaml")] == "./observability/rules"
    assert of_team == rules.replace("/*.yaml", "/team/*.yaml")
    (provider,) = document("grafana/provisioning/dashboards/dashboards.yaml")["providers"]
    assert mounted["grafana"][provider["options"]["path"]] == "./observability/grafana/dashboards"
    assert mounted["grafana"]["/etc/grafana/provisioning"] == "./observability/grafana/provisioning"


def test_kubernetes_gets_the_same_rules_and_dashboards(kubectl: Path) -> None:
    command = [kubectl, "kustomize", STACK]
    rendered = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = {resource["kind"]: resource for resource in yaml.safe_load_all(rendered)}
    assert found.keys() == {"PrometheusRule", "ConfigMap"}
    assert {resource["metadata"]["namespace"] for resource in found.values()} == {"monitoring"}
    groups = [
        group
        for path in [
            *sorted((STACK / "rules").glob("*.yaml")),
            *sorted((STACK / "rules/team").glob("*.yaml")),
        ]
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]
    ]
    assert found["PrometheusRule"]["spec"]["groups"] == groups
    assert found["ConfigMap"]["metadata"]["labels"] == {"grafana_dashboard": "1"}
    boards = [json.loads(text) for text in found["ConfigMap"]["data"].values()]
    of_team = [json.loads(path.read_text("utf-8"))["uid"] for path in (DASHBOARDS / "team").glob("*.json")]
    assert sorted(board["uid"] for board in boards) == sorted([*UIDS, *of_team])
