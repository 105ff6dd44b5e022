"""The optional components of the manifests, each on the production overlay, and all together."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # has no types

from tools.kubectl import kustomize

from .conftest import ROOT
from .manifests import (
    KUBERNETES,
    PODS,
    SERVICES,
    SETTINGS,
    VERSIONS,
    WITH_DATABASE,
    WORKERS,
    cluster_variables,
    document_of,
    egress_ports,
    expected_documents,
    pods_of,
    settings_of,
    validate,
    variables_of,
)
from .pod_security import violated_controls

COMPONENTS = sorted(path.parent.name for path in KUBERNETES.glob("components/*/kustomization.yaml"))


@pytest.fixture(scope="session")
def with_component(kubectl: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The production overlay with each component, and with all of them as `all`."""
    copied = tmp_path_factory.mktemp("manifests") / "kubernetes"
    shutil.copytree(KUBERNETES, copied)
    found: dict[str, str] = {}
    for name, components in [*((name, [name]) for name in COMPONENTS), ("all", COMPONENTS)]:
        overlay = copied / "overlays" / name
        overlay.mkdir()
        content = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": ["../production"],
            "components": [f"../../components/{component}" for component in components],
        }
        overlay.joinpath("kustomization.yaml").write_text(yaml.safe_dump(content))
        found[name] = kustomize(kubectl, overlay)
    return found


@pytest.mark.parametrize("component", [*COMPONENTS, "all"])
def test_a_component_gives_valid_manifests_and_known_settings(
    with_component: dict[str, str], tmp_path: Path, component: str
) -> None:
    path = tmp_path / "component.yaml"
    path.write_text(with_component[component])
    result = validate(path, VERSIONS[0])
    assert result.returncode == 0, result.stdout + result.stderr
    documents = list(yaml.safe_load_all(with_component[component]))
    assert len(documents) == expected_documents("production")
    assert [violated_controls(pod) for pod in pods_of(documents)] == [set() for _ in PODS]
    for service, settings in SETTINGS.items():
        spec = document_of(documents, "Deployment", service)["spec"]["template"]["spec"]
        given = {
            name: value
            for name, value in settings_of(documents, service).items()
            if name not in cluster_variables("production")
        }
        given |= {variable["name"].removesuffix("_FILE"): "" for variable in spec["containers"][0]["env"]}
        assert given.keys() <= variables_of(settings)


def test_each_component_has_its_effect(with_component: dict[str, str]) -> None:
    parsed = {name: list(yaml.safe_load_all(text)) for name, text in with_component.items()}
    for service in SERVICES:
        grpc = settings_of(parsed["otlp-grpc"], service)
        assert grpc["OTEL_EXPORTER_OTLP_PROTOCOL"] == "grpc"
        assert grpc["OTEL_EXPORTER_OTLP_ENDPOINT"].endswith(":4317")
        assert 4317 in egress_ports(parsed["otlp-grpc"], service)
        ipv6 = settings_of(parsed["ipv6"], service)
        assert (ipv6["HOST"], ipv6["METRICS_HOST"]) == ("::", "::")
        pod = document_of(parsed["openshift"], "Deployment", service)["spec"]["template"]["spec"]
        assert pod["securityContext"].keys() == {"runAsNonRoot", "seccompProfile"}
        monitor = document_of(parsed["kube-prometheus-stack"], "ServiceMonitor", service)
        assert monitor["metadata"]["labels"]["release"] == "kube-prometheus-stack"
    for service in WITH_DATABASE:
        assert settings_of(parsed["pgbouncer"], service)["DB_PGBOUNCER"] == "true"
    for pod in (pod for pod in PODS if WORKERS.get(pod, pod) in WITH_DATABASE):
        service = WORKERS.get(pod, pod)
        assert 6432 in egress_ports(parsed["pgbouncer"], pod)
        template = document_of(parsed["pgbouncer"], "Deployment", pod)["spec"]["template"]["spec"]
        for container in (*template["initContainers"], *template["containers"]):
            files = {variable["name"]: variable["value"] for variable in container["env"]}
            assert files["MIGRATIONS_DATABASE_URL_FILE"] == f"/run/secrets/{service}/migrations-database-url"
    cidrs = [
        peer["ipBlock"]["cidr"]
        for rule in document_of(parsed["node-local-dns"], "NetworkPolicy", "allow-dns")["spec"]["egress"]
        for peer in rule["to"]
        if "ipBlock" in peer
    ]
    assert cidrs == ["169.254.20.10/32"]


def test_the_rules_of_the_adapter_give_the_metric_that_the_autoscalers_use(
    with_component: dict[str, str], tmp_path: Path
) -> None:
    folder = KUBERNETES / "components/scale-on-requests"
    (rule,) = yaml.safe_load(folder.joinpath("adapter-rules.yaml").read_text("utf-8"))["rules"]["custom"]
    documents = list(yaml.safe_load_all(with_component["scale-on-requests"]))
    for service in SERVICES:
        metrics = document_of(documents, "HorizontalPodAutoscaler", service)["spec"]["metrics"]
        assert metrics[-1]["pods"]["metric"]["name"] == rule["name"]["matches"]
    for worker in WORKERS:
        metrics = document_of(documents, "HorizontalPodAutoscaler", worker)["spec"]["metrics"]
        assert [metric["type"] for metric in metrics] == ["Resource"]
    # The template as the adapter fills it, according to its documentation.
    filled = {
        "<<.Series>>": rule["seriesQuery"].partition("{")[0],
        "<<.LabelMatchers>>": 'namespace="starkeel",pod=~"orders-1|orders-2"',
        "<<.GroupBy>>": "pod",
    }
    query = rule["metricsQuery"]
    for placeholder, text in filled.items():
        query = query.replace(placeholder, text)
    path = tmp_path / "rules.yaml"
    rules = {"groups": [{"name": "adapter", "rules": [{"record": "result", "expr": query}]}]}
    path.write_text(yaml.safe_dump(rules))
    checked = subprocess.run(
        ["promtool", "check", "rules", path], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    metrics = (ROOT / "packages/observability/README.md").read_text("utf-8")
    assert f"`{rule['name']['matches']}`" in metrics
