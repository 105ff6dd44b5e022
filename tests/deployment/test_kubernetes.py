"""The manifests: what Kubernetes' own schemas, its strictest policy and our settings say of them."""

import json
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]  # has no types
from accounts.settings import Settings as AccountsSettings
from orders.settings import Settings as OrdersSettings
from starkeel_config import reference
from starkeel_server import ServerSettings

from .conftest import ROOT
from .pod_security import CONTROLS, broken, broken_controls

KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = ("development", "production")
SERVICES = ("accounts", "orders")
# The newest that the validator knows, and the two before.
VERSIONS = ("1.37", "1.36", "1.35")
VALIDATOR = [
    "uv",
    "run",
    "--quiet",
    "--no-project",
    "--with",
    "kubernetes-validate==1.37.0",
    "kubernetes-validate",
]
DOCUMENTS = {"development": 19, "production": 20}
OWN_KINDS = {"ServiceMonitor"}
# Of the definition that Prometheus' operator brings, what is used of it: the schemas do not know it.
MONITOR_FIELDS = {"selector", "endpoints", "namespaceSelector", "jobLabel", "targetLabels", "sampleLimit"}
ENDPOINT_FIELDS = {"port", "path", "interval", "scrapeTimeout", "scheme", "honorLabels", "metricRelabelings"}

Document = dict[str, Any]


@pytest.fixture(scope="session")
def rendered(kubectl: Path) -> dict[str, str]:
    """Each overlay as kustomize makes it."""
    return {name: _kustomize(kubectl, KUBERNETES / "overlays" / name) for name in OVERLAYS}


@pytest.fixture(scope="session")
def documents(rendered: dict[str, str]) -> dict[str, list[Document]]:
    """Each overlay's documents."""
    return {name: list(yaml.safe_load_all(text)) for name, text in rendered.items()}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_schemas_of_three_minor_versions_accept_it(
    rendered: dict[str, str], tmp_path: Path, overlay: str, version: str
) -> None:
    path = tmp_path / f"{overlay}.yaml"
    path.write_text(rendered[overlay])
    said = _validated(path, version)
    assert said.returncode == 0, said.stdout + said.stderr
    passed = re.findall(
        rf"passed for resource (\w+)/\S+ against version {version}", said.stdout + said.stderr
    )
    kinds = [document["kind"] for document in yaml.safe_load_all(rendered[overlay])]
    assert len(kinds) == DOCUMENTS[overlay]
    assert sorted(passed) == sorted(kind.lower() for kind in kinds if kind not in OWN_KINDS)


def test_the_validator_refuses_what_no_schema_has(rendered: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(rendered["production"].replace("minReadySeconds", "minimumReadySeconds"))
    assert _validated(path, VERSIONS[0]).returncode != 0


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_keeps_the_restricted_standard(documents: dict[str, list[Document]], overlay: str) -> None:
    pods = list(_pods(documents[overlay]))
    assert len(pods) == len(SERVICES)
    assert [broken_controls(pod) for pod in pods] == [set(), set()]
    namespace = _one(documents[overlay], "Namespace", "starkeel")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("control", CONTROLS)
def test_a_pod_that_breaks_a_control_is_refused(documents: dict[str, list[Document]], control: str) -> None:
    for pod in _pods(documents["production"]):
        assert control in broken_controls(broken(pod, control))


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_is_given_the_time_that_its_settings_need(
    documents: dict[str, list[Document]], overlay: str, service: str
) -> None:
    spec = _one(documents[overlay], "Deployment", service)["spec"]["template"]["spec"]
    settings = _settings(documents[overlay], service)
    needed = stop_seconds(settings)
    assert spec["terminationGracePeriodSeconds"] >= needed
    # More than a little more would hide a pod that does not stop.
    assert spec["terminationGracePeriodSeconds"] <= needed + 10


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_is_probed_limited_and_has_no_token(
    documents: dict[str, list[Document]], overlay: str, service: str
) -> None:
    spec = _one(documents[overlay], "Deployment", service)["spec"]["template"]["spec"]
    container = spec["containers"][0]
    probes = {name: container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["httpGet"] for name, probe in probes.items()} == {
        "startup": {"path": "/health/started", "port": "http"},
        "liveness": {"path": "/health/live", "port": "http"},
        "readiness": {"path": "/health/ready", "port": "http"},
    }
    assert (probes["liveness"]["periodSeconds"], probes["readiness"]["periodSeconds"]) == (10, 5)
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    account = _one(documents[overlay], "ServiceAccount", service)
    assert account["automountServiceAccountToken"] is False
    for one in (*spec["initContainers"], container):
        assert one["resources"]["limits"]["memory"]
        assert one["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert one["securityContext"]["readOnlyRootFilesystem"] is True
        assert ":" in one["image"]
        assert not one["image"].endswith(":latest")


@pytest.mark.parametrize("service", SERVICES)
def test_one_container_migrates_and_the_other_does_not(
    documents: dict[str, list[Document]], service: str
) -> None:
    spec = _one(documents["production"], "Deployment", service)["spec"]["template"]["spec"]
    assert [one["args"] for one in spec["initContainers"]] == [["migrate"]]
    assert spec["containers"][0]["args"] == ["serve"]
    assert _settings(documents["production"], service)["RUN_MIGRATIONS"] == "false"


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_one_that_the_service_reads(
    documents: dict[str, list[Document]], overlay: str, service: str
) -> None:
    known = _variables({"accounts": AccountsSettings, "orders": OrdersSettings}[service])
    spec = _one(documents[overlay], "Deployment", service)["spec"]["template"]["spec"]
    given = set(_settings(documents[overlay], service))
    given |= {one["name"].removesuffix("_FILE") for one in spec["containers"][0]["env"]}
    assert given - known == set()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_nothing_gets_in_or_out_that_is_not_named(documents: dict[str, list[Document]], overlay: str) -> None:
    policies = {
        one["metadata"]["name"]: one["spec"] for one in documents[overlay] if one["kind"] == "NetworkPolicy"
    }
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for service in SERVICES:
        assert policies[service]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == service
        rules = policies[service]["ingress"] + policies[service]["egress"]
        assert all(rule.get("ports") and (rule.get("from") or rule.get("to")) for rule in rules)
    callers = json.dumps(policies["accounts"]["ingress"])
    assert '"app.kubernetes.io/name": "orders"' in callers


@pytest.mark.parametrize("service", SERVICES)
def test_it_scales_and_is_not_drained_all_at_once(documents: dict[str, list[Document]], service: str) -> None:
    scaler = _one(documents["production"], "HorizontalPodAutoscaler", service)["spec"]
    assert scaler["minReplicas"] >= 2
    pods = [one["pods"]["metric"]["name"] for one in scaler["metrics"] if one["type"] == "Pods"]
    assert pods == ["http_requests_in_flight"]
    budget = _one(documents["production"], "PodDisruptionBudget", service)["spec"]
    deployment = _one(documents["production"], "Deployment", service)["spec"]
    assert "replicas" not in deployment
    assert budget["maxUnavailable"] == 1
    assert deployment["selector"]["matchLabels"].items() >= budget["selector"]["matchLabels"].items()
    keys = [one["topologyKey"] for one in deployment["template"]["spec"]["topologySpreadConstraints"]]
    assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]


@pytest.mark.parametrize("service", SERVICES)
def test_prometheus_finds_the_admin_port(documents: dict[str, list[Document]], service: str) -> None:
    monitor = _one(documents["production"], "ServiceMonitor", service)
    target = _one(documents["production"], "Service", service)
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"].keys() <= MONITOR_FIELDS
    assert target["metadata"]["labels"].items() >= monitor["spec"]["selector"]["matchLabels"].items()
    ports = {one["name"] for one in target["spec"]["ports"]}
    for endpoint in monitor["spec"]["endpoints"]:
        assert endpoint.keys() <= ENDPOINT_FIELDS
        assert endpoint["port"] in ports
        assert endpoint["interval"] == "15s"


def test_only_what_is_public_is_reached_from_outside(documents: dict[str, list[Document]]) -> None:
    rules = _one(documents["production"], "Ingress", "api")["spec"]["rules"]
    paths = {
        one["path"]: one["backend"]["service"]["name"] for rule in rules for one in rule["http"]["paths"]
    }
    assert paths == {
        "/api/users": "accounts",
        "/api/auth": "accounts",
        "/.well-known": "accounts",
        "/api/orders": "orders",
    }
    assert not any(one["kind"] == "Secret" for found in documents.values() for one in found)


def stop_seconds(given: dict[str, str]) -> float:
    """Return how long a service may take to stop, by its settings' defaults and what is given."""
    defaults = {one.name: one.default for one in msgspec.structs.fields(ServerSettings)}
    variables = {
        "DRAIN_DELAY_SECONDS": "drain_delay_s",
        "SHUTDOWN_GRACE_SECONDS": "shutdown_grace_s",
        "SHUTDOWN_FLUSH_SECONDS": "shutdown_flush_s",
    }
    return sum(float(given.get(name, defaults[field])) for name, field in variables.items()) + 2


def _kustomize(kubectl: Path, folder: Path) -> str:
    return subprocess.run([kubectl, "kustomize", folder], check=True, capture_output=True, text=True).stdout


def _validated(path: Path, version: str) -> "subprocess.CompletedProcess[str]":
    command = [*VALIDATOR, "--strict", "--kubernetes-version", version, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _pods(documents: Iterable[Document]) -> Iterable[Document]:
    return [one["spec"]["template"]["spec"] for one in documents if one["kind"] in {"Deployment", "Job"}]


def _one(documents: Iterable[Document], kind: str, name: str) -> Document:
    (found,) = [one for one in documents if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def _settings(documents: Iterable[Document], service: str) -> dict[str, str]:
    (found,) = [
        one["data"]
        for one in documents
        if one["kind"] == "ConfigMap" and re.fullmatch(rf"{service}-\w+", one["metadata"]["name"])
    ]
    return dict(found)


def _variables(settings: Any) -> set[str]:
    return {one.name for section in reference(settings, service="any").sections for one in section.variables}
