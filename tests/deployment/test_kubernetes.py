"""The manifests against Kubernetes' schemas, the restricted Pod Security Standard and the settings."""

import re
from ipaddress import ip_network
from pathlib import Path

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]  # has no types
from starkeel_server import ServerSettings

from tools.generate import connections
from tools.registry import ROOT, upstreams

from .manifests import (
    OVERLAYS,
    OWN_KINDS,
    PODS,
    REGISTRY,
    SERVICES,
    VERSIONS,
    WITH_DATABASE,
    WORKERS,
    Document,
    document_of,
    expected_documents,
    peers,
    pods_of,
    settings_of,
    validate,
)
from .pod_security import CONTROLS, violated_controls, violating

# Fields that are used of the ServiceMonitor resource, which is not in Kubernetes' schemas.
MONITOR_FIELDS = {"selector", "endpoints", "namespaceSelector", "jobLabel", "targetLabels", "sampleLimit"}
ENDPOINT_FIELDS = {
    "port", "path", "interval", "scrapeTimeout", "scheme", "honorLabels", "relabelings", "metricRelabelings"
}  # fmt: skip


PROBES = {
    "startup": {"path": "/health/started", "port": "http"},
    "liveness": {"path": "/health/live", "port": "http"},
    "readiness": {"path": "/health/ready", "port": "http"},
}
# A worker has no application port.
PROBES_OF_A_WORKER = {
    "startup": {"path": "/live", "port": "metrics"},
    "liveness": {"path": "/live", "port": "metrics"},
    "readiness": {"path": "/ready", "port": "metrics"},
}


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
    assert len(kinds) == expected_documents(overlay)
    assert sorted(passed) == sorted(kind.lower() for kind in kinds if kind not in OWN_KINDS)


def test_the_validator_rejects_an_unknown_field(rendered: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(rendered["production"].replace("minReadySeconds", "minimumReadySeconds"))
    assert validate(path, VERSIONS[0]).returncode != 0


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_pod_meets_the_restricted_standard(documents: dict[str, list[Document]], overlay: str) -> None:
    pods = list(pods_of(documents[overlay]))
    assert len(pods) == len(PODS)
    assert [violated_controls(pod) for pod in pods] == [set() for _ in PODS]
    namespace = document_of(documents[overlay], "Namespace", "starkeel")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("control", CONTROLS)
def test_a_violation_of_each_control_is_detected(documents: dict[str, list[Document]], control: str) -> None:
    for pod in pods_of(documents["production"]):
        assert control in violated_controls(violating(pod, control))


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("pod", PODS)
def test_the_grace_period_covers_the_shutdown_settings(
    documents: dict[str, list[Document]], overlay: str, pod: str
) -> None:
    spec = document_of(documents[overlay], "Deployment", pod)["spec"]["template"]["spec"]
    settings = settings_of(documents[overlay], WORKERS.get(pod, pod))
    needed = stop_seconds(settings)
    assert spec["terminationGracePeriodSeconds"] >= needed
    # A much longer period would hide a pod that does not stop.
    assert spec["terminationGracePeriodSeconds"] <= needed + 10


@pytest.mark.parametrize("overlay", OVERLAYS)
@pytest.mark.parametrize("pod", PODS)
def test_a_pod_has_probes_and_limits_and_no_token(
    documents: dict[str, list[Document]], overlay: str, pod: str
) -> None:
    spec = document_of(documents[overlay], "Deployment", pod)["spec"]["template"]["spec"]
    container = spec["containers"][0]
    probes = {name: container[f"{name}Probe"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["httpGet"] for name, probe in probes.items()} == (
        PROBES_OF_A_WORKER if pod in WORKERS else PROBES
    )
    assert (probes["liveness"]["periodSeconds"], probes["readiness"]["periodSeconds"]) == (10, 5)
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False
    account = document_of(documents[overlay], "ServiceAccount", WORKERS.get(pod, pod))
    assert spec["serviceAccountName"] == account["metadata"]["name"]
    assert account["automountServiceAccountToken"] is False
    for item in (*spec.get("initContainers", []), container):
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


@pytest.mark.parametrize("pod", PODS)
def test_only_the_init_container_migrates(documents: dict[str, list[Document]], pod: str) -> None:
    service = WORKERS.get(pod, pod)
    spec = document_of(documents["production"], "Deployment", pod)["spec"]["template"]["spec"]
    has_database = service in WITH_DATABASE
    assert [init["args"] for init in spec.get("initContainers", [])] == [["migrate"]] * has_database
    assert spec["containers"][0]["args"] == ["worker" if pod in WORKERS else "serve"]
    migrates = settings_of(documents["production"], service).get("RUN_MIGRATIONS")
    assert migrates == ("false" if has_database else None)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_network_policies_deny_by_default(documents: dict[str, list[Document]], overlay: str) -> None:
    policies = {
        policy["metadata"]["name"]: policy["spec"]
        for policy in documents[overlay]
        if policy["kind"] == "NetworkPolicy"
    }
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for pod in PODS:
        assert policies[pod]["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == pod
        rules = policies[pod]["ingress"] + policies[pod]["egress"]
        assert all(rule.get("ports") and (rule.get("from") or rule.get("to")) for rule in rules)


@pytest.mark.parametrize("pod", PODS)
def test_each_service_may_reach_what_it_needs_and_be_reached_by_its_callers(
    documents: dict[str, list[Document]], pod: str
) -> None:
    entry, everything = REGISTRY[WORKERS.get(pod, pod)], list(REGISTRY.values())
    callers = {
        host
        for each in everything
        if entry.name in upstreams(each, everything)
        for host in ([each.host, each.worker_host] if each.has_worker else [each.host])
    }
    called = {each.host for each in everything if each.name in upstreams(entry, everything)}
    production = documents["production"]

    public = {"namespace/ingress"} if entry.paths else set()
    assert peers(production, pod, "ingress", 3000) == (set() if pod in WORKERS else callers | public)
    assert peers(production, pod, "ingress", 9090) == {"namespace/monitoring"}
    assert peers(production, pod, "egress", 3000) == called
    for needs, port in (({"database"}, 5432), ({"redis", "broker"}, 6379), ({"broker"}, 4222)):
        expected = {"namespace/data"} if needs & set(entry.needs) else set()
        assert peers(production, pod, "egress", port) == expected


@pytest.mark.parametrize("pod", PODS)
def test_a_deployment_scales_and_keeps_a_pod_during_node_drains(
    documents: dict[str, list[Document]], pod: str
) -> None:
    scaler = document_of(documents["production"], "HorizontalPodAutoscaler", pod)["spec"]
    assert scaler["scaleTargetRef"]["name"] == pod
    assert scaler["minReplicas"] >= 2
    # Others need an adapter, and a missing metric prevents the removal of pods.
    assert [metric["resource"]["name"] for metric in scaler["metrics"]] == ["cpu"]
    budget = document_of(documents["production"], "PodDisruptionBudget", pod)["spec"]
    deployment = document_of(documents["production"], "Deployment", pod)["spec"]
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
    # Of the rendered manifests: a patch of a team counts as well.
    for overlay in OVERLAYS:
        opened = 0
        for pod in PODS:
            service = WORKERS.get(pod, pod)
            if service not in WITH_DATABASE:
                continue
            spec = document_of(documents[overlay], "HorizontalPodAutoscaler", pod)["spec"]
            rollout = document_of(documents[overlay], "Deployment", pod)["spec"]["strategy"]
            pods = spec["maxReplicas"] + rollout["rollingUpdate"]["maxSurge"]
            opened += pods * int(settings_of(documents[overlay], service)["DB_MAX_CONNECTIONS"])
        assert opened <= connections.limits(ROOT).available


@pytest.mark.parametrize("pod", PODS)
def test_prometheus_finds_the_admin_port(documents: dict[str, list[Document]], pod: str) -> None:
    monitor = document_of(documents["production"], "ServiceMonitor", pod)
    target = document_of(documents["production"], "Service", pod)
    selector = document_of(documents["production"], "Deployment", pod)["spec"]["selector"]["matchLabels"]
    assert target["spec"]["selector"] == selector
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"].keys() <= MONITOR_FIELDS
    assert target["metadata"]["labels"].items() >= monitor["spec"]["selector"]["matchLabels"].items()
    ports = {port["name"] for port in target["spec"]["ports"]}
    for endpoint in monitor["spec"]["endpoints"]:
        assert endpoint.keys() <= ENDPOINT_FIELDS
        assert endpoint["port"] in ports
        assert endpoint["interval"] == "15s"
        # The series of a worker are those of its service, in another role.
        labels = {each["targetLabel"]: each["replacement"] for each in endpoint.get("relabelings", [])}
        assert labels == ({"service": WORKERS[pod], "role": "worker"} if pod in WORKERS else {})


def test_the_ingress_exposes_only_public_paths(documents: dict[str, list[Document]]) -> None:
    rules = document_of(documents["production"], "Ingress", "api")["spec"]["rules"]
    paths = {
        path["path"]: path["backend"]["service"]["name"] for rule in rules for path in rule["http"]["paths"]
    }
    assert paths == {path: host for host, service in REGISTRY.items() for path in service.paths}
    assert not any("health" in path or "metrics" in path or "schema" in path for path in paths)
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
