"""The compose file, read: what holds for the parts that cannot be started here, too."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # has no types
from accounts.settings import Settings as AccountsSettings
from orders.settings import Settings as OrdersSettings
from starkeel_config import reference

from .conftest import ROOT
from .test_kubernetes import stop_seconds

DEPLOY = ROOT / "deploy"
FILE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened_and_limited(name: str) -> None:
    one = SERVICES[name]
    assert one["read_only"] is True
    assert one["cap_drop"] == ["ALL"]
    assert one["security_opt"] == ["no-new-privileges:true"]
    assert one["logging"]["options"].keys() == {"max-size", "max-file"}
    assert one["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert not one.get("privileged")


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_has_an_exact_version(name: str) -> None:
    image = SERVICES[name]["image"]
    assert re.search(r":(\$\{VERSION:-dev\}|v?\d+\.\d+[\w.-]*)$", image), image


def test_only_the_proxies_are_reached_from_outside() -> None:
    published = {name for name, one in SERVICES.items() if one.get("ports")}
    assert published == {"proxy", "proxy-tls"}
    inside = {name for name, network in FILE["networks"].items() if network.get("internal")}
    assert inside == {"services", "data", "telemetry"}
    for name, one in SERVICES.items():
        assert set(one["networks"]) <= inside or name in published
    assert set(SERVICES["postgres"]["networks"]) == set(SERVICES["redis"]["networks"]) == {"data"}


def test_no_password_stands_in_the_file() -> None:
    for secret in FILE["secrets"].values():
        assert secret.keys() == {"file"}
    for one in SERVICES.values():
        for name, value in one.get("environment", {}).items():
            if re.search("PASSWORD|KEY|_URL_FILE|SECRET", name):
                assert str(value).startswith("/run/secrets/"), name


@pytest.mark.parametrize("name", ["accounts", "orders"])
def test_a_service_is_given_the_time_that_its_settings_need(name: str) -> None:
    grace = float(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    assert grace >= stop_seconds(SERVICES[name]["environment"])


@pytest.mark.parametrize(("name", "settings"), [("accounts", AccountsSettings), ("orders", OrdersSettings)])
def test_every_variable_is_one_that_the_service_reads(name: str, settings: Any) -> None:
    known = {one.name for part in reference(settings, service=name).sections for one in part.variables}
    assert {one.removesuffix("_FILE") for one in SERVICES[name]["environment"]} - known == set()


def test_start_waits_for_health() -> None:
    for name in ("accounts", "orders", "proxy"):
        conditions = {one["condition"] for one in SERVICES[name]["depends_on"].values()}
        assert conditions == {"service_healthy"}
        for needed in SERVICES[name]["depends_on"]:
            assert "healthcheck" in SERVICES[needed]


def test_what_is_mounted_is_there_and_can_be_read() -> None:
    for one in SERVICES.values():
        for volume in one.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), source
    documents = list((DEPLOY / "observability").rglob("*.yaml"))
    assert len(documents) >= 6
    for path in documents:
        assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict), path


def test_what_watches_is_wired_to_what_is_watched() -> None:
    collector = _document("collector.yaml")
    ways = collector["service"]["pipelines"]
    for way in ways.values():
        assert set(way["receivers"]) <= collector["receivers"].keys()
        assert set(way["exporters"]) <= collector["exporters"].keys()
    targets = json.dumps([collector["exporters"], _document("prometheus.yaml")])
    sources = _document("grafana/provisioning/datasources/datasources.yaml")["datasources"]
    targets += json.dumps([one["url"] for one in sources])
    hosts = set(re.findall(r'(?:http://|targets": \[")([a-z-]+):\d+', targets))
    assert hosts == {"tempo", "loki", "alertmanager", "prometheus", "collector"}
    assert hosts <= SERVICES.keys()
    endpoint = SERVICES["orders"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert endpoint == "http://collector:4318"


def _document(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(Path(DEPLOY / "observability" / name).read_text("utf-8"))
    return document
