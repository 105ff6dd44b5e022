"""The compose file, parsed: this covers images that cannot be started in the tests."""

import json
import re
from importlib import import_module
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # has no types
from starkeel_config import reference

from tools.generate.connections import with_database
from tools.registry import read

from .conftest import ROOT
from .test_kubernetes import stop_seconds

DEPLOY = ROOT / "deploy"
FILE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OWN = [service.name for service in read()]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened_and_limited(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert not service.get("privileged")


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_has_an_exact_version(name: str) -> None:
    image = SERVICES[name]["image"]
    assert re.search(r":(\$\{VERSION:-dev\}|v?\d+\.\d+[\w.-]*)$", image), image


def test_only_the_proxies_publish_ports() -> None:
    published = {name for name, service in SERVICES.items() if service.get("ports")}
    assert published == {"proxy", "proxy-tls"}
    inside = {name for name, network in FILE["networks"].items() if network.get("internal")}
    assert inside == {"services", "data", "telemetry"}
    for name, service in SERVICES.items():
        assert set(service["networks"]) <= inside or name in published
    assert set(SERVICES["postgres"]["networks"]) == set(SERVICES["redis"]["networks"]) == {"data"}


def test_services_trust_the_address_of_the_proxies_and_continue_traces_of_their_network() -> None:
    addresses = {SERVICES[name]["networks"]["services"]["ipv4_address"] for name in ("proxy", "proxy-tls")}
    (subnet,) = FILE["networks"]["services"]["ipam"]["config"]
    for name in OWN:
        environment = SERVICES[name]["environment"]
        assert {environment["TRUSTED_PROXIES"]} == addresses
        assert environment["INTERNAL_NETWORKS"] == subnet["subnet"]
    address, network = (re.sub(r"\$\{\w+:-(.*)\}", r"\1", text) for text in (*addresses, subnet["subnet"]))
    assert ip_address(address) in ip_network(network)


def test_services_serve_the_public_hosts_and_their_own_names() -> None:
    for name in OWN:
        hosts = SERVICES[name]["environment"]["ALLOWED_HOSTS"]
        assert hosts == ",".join(["${PUBLIC_HOSTS:-127.0.0.1,localhost}", *OWN])


def test_the_file_contains_no_password() -> None:
    for secret in FILE["secrets"].values():
        assert secret.keys() == {"file"}
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEY|_URL_FILE|SECRET", name):
                assert str(value).startswith("/run/secrets/"), name


@pytest.mark.parametrize("name", OWN)
def test_the_grace_period_covers_the_shutdown_settings(name: str) -> None:
    grace = float(SERVICES[name]["stop_grace_period"].removesuffix("s"))
    assert grace >= stop_seconds(SERVICES[name]["environment"])


@pytest.mark.parametrize("name", OWN)
def test_every_variable_is_a_setting_of_the_service(name: str) -> None:
    settings = import_module(f"{name}.settings").Settings
    known = {
        variable.name for part in reference(settings, service=name).sections for variable in part.variables
    }
    assert {variable.removesuffix("_FILE") for variable in SERVICES[name]["environment"]} - known == set()


def test_services_start_after_their_dependencies_are_healthy() -> None:
    for name in (*OWN, "proxy", "databases"):
        for needed, dependency in SERVICES[name].get("depends_on", {}).items():
            if needed == "databases":
                assert dependency["condition"] == "service_completed_successfully"
            else:
                assert dependency["condition"] == "service_healthy"
                assert "healthcheck" in SERVICES[needed]


def test_databases_are_created_on_each_start_and_not_only_for_an_empty_volume() -> None:
    names = [service.name for service in with_database(read())]
    assert SERVICES["databases"]["secrets"] == [
        "postgres-password", *(f"{name}-database-password" for name in names)
    ]  # fmt: skip
    # A change of its secrets would replace the running server when a service is added.
    assert SERVICES["postgres"]["secrets"] == ["postgres-password"]
    assert not any("docker-entrypoint-initdb.d" in volume for volume in SERVICES["postgres"]["volumes"])
    for name in names:
        assert "databases" in SERVICES[name]["depends_on"]


def test_mounted_files_exist_and_parse() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), source
    documents = list((DEPLOY / "observability").rglob("*.yaml"))
    assert len(documents) >= 6
    for path in documents:
        assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict), path


def test_the_telemetry_services_refer_to_each_other() -> None:
    collector = _document("collector.yaml")
    pipelines = collector["service"]["pipelines"]
    for pipeline in pipelines.values():
        assert set(pipeline["receivers"]) <= collector["receivers"].keys()
        assert set(pipeline["exporters"]) <= collector["exporters"].keys()
    targets = json.dumps([collector["exporters"], _document("prometheus.yaml")])
    sources = _document("grafana/provisioning/datasources/datasources.yaml")["datasources"]
    targets += json.dumps([source["url"] for source in sources])
    hosts = set(re.findall(r'(?:http://|targets": \[")([a-z-]+):\d+', targets))
    assert hosts == {"tempo", "loki", "alertmanager", "prometheus", "collector"}
    assert hosts <= SERVICES.keys()
    endpoints = {SERVICES[name]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] for name in OWN}
    assert endpoints == {"http://collector:4318"}


def _document(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(Path(DEPLOY / "observability" / name).read_text("utf-8"))
    return document
