"""The manifests against Kubernetes' schemas, the restricted Pod Security Standard and the settings."""

import json
import re
from ipaddress import ip_network
from pathlib import Path

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]  # has no types
from starkeel_server import ServerSettings

from .manifests import (
    DOCUMENTS,
    KUBERNETES,
    OVERLAYS,
    OWN_KINDS,
    SERVICES,
    SETTINGS,
    VERSIONS,
    Document,
    document_of,
    kustomize,
    pods_of,
    settings_of,
    validate,
    variables_of,
)
from .pod_security import CONTROLS, violated_controls, violating

# Fields that are used of the ServiceMonitor resource, which is not in Kubernetes' schemas.
MONITOR_FIELDS = {"selector", "endpoints", "namespaceSelector", "jobLabel", "targetLabels", "sampleLimit"}
ENDPOINT_FIELDS = {"port", "path", "interval", "scrapeTimeout", "scheme", "honorLabels", "metricRelabelings"}
# PostgreSQL's default settings `max_connections` and `superuser_reserved_connections`.
DATABASE_CONNECTIONS = 100 - 3


@pytest.fixture(scope="session")
def rendered(kubectl: Path) -> dict[str, str]:
    """Each overlay, rendered by kustomize."""
    return {name: kustomize(kubectl, KUBERNETES / "overlays" / name) for name in OVERLAYS}


@pytest.fixture(scope="session")
def documents(rendered: dict[str, str]) -> dict[str, list[Document]]:
    """Each overlay's documents."""
    return {name: list(yaml.safe_load_all(text)) for name, text in rendered.items()}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_manifests_match_the_schemas_of_three_minor_versions(
    rendered: dict[str, str], tmp_path: Path, overlay: str, version: str
) -> None:
    path = tmp_path / f"{overlay}.yaml"
    path.write_text(rendered[overlay])
    result = validate(path, version)
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    passed = re.findall(rf"passed for resource (\w+)/\S+ against version {version}", output)
    kinds = [document["kind"] for document in yaml.safe_load_all(rendered[overlay])]
    assert len(kinds) == DOCUMENTS[overlay]
    assert sorted(passed) == sorted(kind.lower() for kind in kinds if kind not in OWN_KINDS)


def test_the_validator_rejects_an_unknown_field(rendered: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(rendered["production"].replace("minReadySeconds", "minimumReadySeconds"))
    assert validate(path, VERSIONS[0]).returncode != 0


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_meets_the_restricted_standard(documents: dict[str, list[Document]], overlay: str) -> None:
    pods = list(pods_of(documents[overlay]))
    assert len(pods) == len(SERVICES)
    assert [violated_controls(pod) for pod in pods] == [set(), set()]
    namespace = document_of(documents[overlay], "Namespace", "starkeel")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("control", CONTROLS)
def test_a_violation_of_each_control_is_detected(documents: dict[str, list[Document]], control: str) -> None:
    for pod in pods_of(documents["production"]):
        assert control in violated_controls(violating(pod, control))


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("service", SERVICES)
def test_the_grace_period_covers_the_shutdown_settings(
    documents: dict[str, list[Document]], overlay: str, service: str
) -> None:
    spec = document_of(documents[overlay], "Deployment", service)["spec"]["template"]["spec"]
    settings = settings_of(documents[overlay], service)
    needed = stop_seconds(settings)
    assert spec["terminationGracePeriodSeconds"] >= needed
    # A much longer period would hide a pod that does not stop.
    assert spec["terminationGracePeriodSeconds"] <= needed + 10


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("service", SERVICES)
def test_a_pod_has_probes_and_limits_and_no_token(
    documents: dict[str, list[Document]], overlay: str, service: str
) -> None:
    spec = document_of(documents[overlay], "Deployment", service)["spec"]["template"]["spec"]
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
    account = document_of(documents[overlay], "ServiceAccount", service)
    assert account["automountServiceAccountToken"] is False
    for item in (*spec["initContainers"], container):
        assert item["resources"]["limits"]["memory"]
        assert item["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert item["securityContext"]["readOnlyRootFilesystem"] is True
        assert ":" in item["image"]
        assert not item["image"].endswith(":latest")


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("service", SERVICES)
def test_proxies_are_trusted_one_by_one_and_services_continue_traces(
    documents: dict[str, list[Document]], overlay: str, service: str
) -> None:
    settings = settings_of(documents[overlay], service)
    networks = {
        variable: [ip_network(text) for text in settings.get(variable, "").split(",") if text]
        for variable in ("TRUSTED_PROXIES", "INTERNAL_NETWORKS")
    }
    assert all(network.num_addresses == 1 for network in networks["TRUSTED_PROXIES"])
    assert (overlay == "development") == (networks["TRUSTED_PROXIES"] == [])
    assert networks["INTERNAL_NETWORKS"]
    assert all(network.is_private and network.prefixlen >= 12 for network in networks["INTERNAL_NETWORKS"])


@pytest.mark.parametrize("service", SERVICES)
def test_the_hosts_of_the_ingress_and_of_the_services_are_allowed(
    documents: dict[str, list[Document]], service: str
) -> None:
    production = documents["production"]
    ingresses = [document for document in production if document["kind"] == "Ingress"]
    public = {rule["host"] for ingress in ingresses for rule in ingress["spec"]["rules"]}
    assert public
    assert set(settings_of(production, service)["ALLOWED_HOSTS"].split(",")) == public | set(SERVICES)


@pytest.mark.parametrize("service", SERVICES)
def test_only_the_init_container_migrates(documents: dict[str, list[Document]], service: str) -> None:
    spec = document_of(documents["production"], "Deployment", service)["spec"]["template"]["spec"]
    assert [init["args"] for init in spec["initContainers"]] == [["migrate"]]
    assert spec["containers"][0]["args"] == ["serve"]
    assert settings_of(documents["production"], service)["RUN_MIGRATIONS"] == "false"


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting_of_the_service(
    documents: dict[str, list[Document]], overlay: str, service: str
) -> None:
    known = variables_of(SETTINGS[service])
    spec = document_of(documents[overlay], "Deployment", service)["spec"]["template"]["spec"]
    given = set(settings_of(documents[overlay], service))
    given |= {variable["name"].removesuffix("_FILE") for variable in spec["containers"][0]["env"]}
    assert given - known == set()


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_network_policies_deny_by_default(documents: dict[str, list[Document]], overlay: str) -> None:
    policies = {
        policy["metadata"]["name"]: policy["spec"]
        for policy in documents[overlay]
        if policy["kind"] == "NetworkPolicy"
    }
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for service in SERVICES:
        assert policies[service]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == service
        rules = policies[service]["ingress"] + policies[service]["egress"]
        assert all(rule.get("ports") and (rule.get("from") or rule.get("to")) for rule in rules)
    callers = json.dumps(policies["accounts"]["ingress"])
    assert '"app.kubernetes.io/name": "orders"' in callers


@pytest.mark.parametrize("service", SERVICES)
def test_a_deployment_scales_and_keeps_a_pod_during_node_drains(
    documents: dict[str, list[Document]], service: str
) -> None:
    scaler = document_of(documents["production"], "HorizontalPodAutoscaler", service)["spec"]
    assert scaler["minReplicas"] >= 2
    # Others need an adapter, and a missing metric prevents the removal of pods.
    assert [metric["resource"]["name"] for metric in scaler["metrics"]] == ["cpu"]
    budget = document_of(documents["production"], "PodDisruptionBudget", service)["spec"]
    deployment = document_of(documents["production"], "Deployment", service)["spec"]
    assert "replicas" not in deployment
    assert budget["maxUnavailable"] == 1
    assert deployment["selector"]["matchLabels"].items() >= budget["selector"]["matchLabels"].items()
    keys = [
        constraint["topologyKey"]
        for constraint in deployment["template"]["spec"]["topologySpreadConstraints"]
    ]
    assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]


def test_the_pods_open_no_more_connections_than_the_database_accepts(
    documents: dict[str, list[Document]],
) -> None:
    production = documents["production"]
    opened = 0
    for service in SERVICES:
        pods = document_of(production, "HorizontalPodAutoscaler", service)["spec"]["maxReplicas"]
        pods += document_of(production, "Deployment", service)["spec"]["strategy"]["rollingUpdate"][
            "maxSurge"
        ]
        opened += pods * int(settings_of(production, service)["DB_MAX_CONNECTIONS"])
    assert opened <= DATABASE_CONNECTIONS


@pytest.mark.parametrize("service", SERVICES)
def test_prometheus_finds_the_admin_port(documents: dict[str, list[Document]], service: str) -> None:
    monitor = document_of(documents["production"], "ServiceMonitor", service)
    target = document_of(documents["production"], "Service", service)
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"].keys() <= MONITOR_FIELDS
    assert target["metadata"]["labels"].items() >= monitor["spec"]["selector"]["matchLabels"].items()
    ports = {port["name"] for port in target["spec"]["ports"]}
    for endpoint in monitor["spec"]["endpoints"]:
        assert endpoint.keys() <= ENDPOINT_FIELDS
        assert endpoint["port"] in ports
        assert endpoint["interval"] == "15s"


def test_the_ingress_exposes_only_public_paths(documents: dict[str, list[Document]]) -> None:
    rules = document_of(documents["production"], "Ingress", "api")["spec"]["rules"]
    paths = {
        path["path"]: path["backend"]["service"]["name"] for rule in rules for path in rule["http"]["paths"]
    }
    assert paths == {
        "/api/users": "accounts",
        "/api/auth": "accounts",
        "/.well-known": "accounts",
        "/api/orders": "orders",
    }
    assert not any(document["kind"] == "Secret" for found in documents.values() for document in found)


def stop_seconds(given: dict[str, str]) -> float:
    """Return the seconds a service may take to stop, from the given variables and the defaults."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(ServerSettings)}
    variables = {
        "DRAIN_DELAY_SECONDS": "drain_delay_s",
        "SHUTDOWN_GRACE_SECONDS": "shutdown_grace_s",
        "SHUTDOWN_FLUSH_SECONDS": "shutdown_flush_s",
    }
    return sum(float(given.get(name, defaults[field])) for name, field in variables.items()) + 2
