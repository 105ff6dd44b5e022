"""Workers and the broker of a registry: compose, Prometheus, Kubernetes, connections, and refused entries."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # has no types

from tools.kubectl import kustomize
from tools.registry import RegistryError, read

from .generation import MANIFESTS, change, generate, register, tree
from .manifests import (
    VERSIONS,
    Document,
    document_of,
    expected_documents,
    peers,
    pods_of,
    settings_of,
    validate,
)
from .pod_security import violated_controls

NIGHT_SHIFT = """[tool.starkeel]
port = 3004
admin_port = 9094
needs = ["database", "tokens", "worker", "broker"]
calls = ["shop"]
max_pods = 2
worker_replicas = 3
max_worker_pods = 5
"""


@pytest.fixture
def with_worker(workspace: Path) -> Path:
    register(workspace, "night_shift", NIGHT_SHIFT)
    done = generate(workspace)
    assert done.returncode == 0, done.stderr
    return workspace


def compose(workspace: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((workspace / "deploy/compose.yaml").read_text("utf-8"))
    return found


def documents(kubectl: Path, workspace: Path, *components: str) -> list[Document]:
    overlay = workspace / MANIFESTS / "overlays/production"
    if components:
        listed = ", ".join(f"../../components/{name}" for name in components)
        file = overlay / "kustomization.yaml"
        file.write_text(f"{file.read_text()}components: [{listed}]\n")
    return list(yaml.safe_load_all(kustomize(kubectl, overlay)))


def test_compose_starts_a_worker_from_the_image_of_its_service(with_worker: Path) -> None:
    services = compose(with_worker)["services"]
    web, worker = services["night_shift"], services["night_shift-worker"]
    differing = {field for field in web.keys() | worker.keys() if web.get(field) != worker.get(field)}
    assert differing == {"build", "command", "deploy"}
    assert worker["command"] == ["worker"]
    assert "build" not in worker
    assert (web["deploy"].get("replicas"), worker["deploy"]["replicas"]) == (None, 3)
    assert web["environment"]["RUN_WORKER"] == "false"
    assert "ports" not in worker
    assert worker["depends_on"].keys() == {"databases", "broker", "directory", "shop"}
    # A service without a worker executes its jobs beside its requests.
    assert "RUN_WORKER" not in services["shop"]["environment"]
    assert "shop-worker" not in services
    # Nothing is forwarded to a worker.
    assert "worker" not in (with_worker / "deploy/proxy/common.cfg").read_text()
    assert "worker" not in services["proxy"]["depends_on"]


def test_compose_has_a_broker_that_keeps_events_only_if_a_service_needs_it(with_worker: Path) -> None:
    file = compose(with_worker)
    broker = file["services"]["broker"]
    assert broker["networks"] == ["data"]
    assert broker["read_only"] is True
    assert broker["deploy"]["resources"]["limits"]["memory"]
    assert broker["volumes"] == ["broker:/data"]
    assert "broker" in file["volumes"]
    for name in ("night_shift", "night_shift-worker"):
        service = file["services"][name]
        assert service["environment"]["BROKER_URL_FILE"] == "/run/secrets/broker-url"
        assert "broker-url" in service["secrets"]
    assert {"broker-config", "broker-password", "broker-url"} <= file["secrets"].keys()

    shutil.rmtree(with_worker / "services/night_shift")
    assert generate(with_worker).returncode == 0

    file = compose(with_worker)
    assert "broker" not in file["services"].keys() | file["volumes"].keys()
    assert not [name for name in file["secrets"] if name.startswith("broker")]


def test_prometheus_scrapes_a_worker_as_its_service_in_another_role(with_worker: Path) -> None:
    file = yaml.safe_load((with_worker / "deploy/observability/prometheus.yaml").read_text())
    jobs = {job["job_name"]: job for job in file["scrape_configs"]}
    (targets,) = jobs["workers"]["dns_sd_configs"]
    assert (targets["names"], targets["port"]) == (["night_shift-worker"], 9090)
    named, role = jobs["workers"]["relabel_configs"]
    assert re.fullmatch(named["regex"], "night_shift-worker")[1] == "night_shift"  # type: ignore[index]
    assert named["target_label"] == "service"
    assert (role["target_label"], role["replacement"]) == ("role", "worker")
    (targets,) = jobs["services"]["dns_sd_configs"]
    assert "night_shift-worker" not in targets["names"]


def test_kubernetes_has_a_deployment_of_its_own_for_a_worker(
    kubectl: Path, with_worker: Path, tmp_path: Path
) -> None:
    found = documents(kubectl, with_worker)
    assert len(found) == expected_documents("production", 3, 1)
    assert [violated_controls(pod) for pod in pods_of(found)] == [set()] * 4
    path = tmp_path / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(found))
    result = validate(path, VERSIONS[0])
    assert result.returncode == 0, result.stdout + result.stderr

    web, worker = (
        document_of(found, "Deployment", name)["spec"] for name in ("night-shift", "night-shift-worker")
    )
    pod, container = worker["template"]["spec"], worker["template"]["spec"]["containers"][0]
    assert container["args"] == ["worker"]
    assert container["image"] == web["template"]["spec"]["containers"][0]["image"]
    assert container["ports"] == [{"name": "metrics", "containerPort": 9090}]
    assert {
        container[f"{name}Probe"]["httpGet"]["port"] for name in ("startup", "liveness", "readiness")
    } == {"metrics"}
    assert [init["args"] for init in pod["initContainers"]] == [["migrate"]]
    assert pod["terminationGracePeriodSeconds"] == web["template"]["spec"]["terminationGracePeriodSeconds"]
    assert container["envFrom"] == web["template"]["spec"]["containers"][0]["envFrom"]
    assert {"name": "BROKER_URL_FILE", "value": "/run/secrets/night-shift/broker-url"} in container["env"]
    assert settings_of(found, "night-shift")["RUN_WORKER"] == "false"
    # Requests never reach it: the selectors of the service's pods do not select its own.
    selector = worker["selector"]["matchLabels"]
    labels = worker["template"]["metadata"]["labels"]
    assert labels.items() >= selector.items()
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
        spec = document_of(found, kind, "night-shift")["spec"]
        chosen = spec.get("podSelector") or spec["selector"]
        assert not labels.items() >= chosen.get("matchLabels", chosen).items()
    scaler = document_of(found, "HorizontalPodAutoscaler", "night-shift-worker")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 5)
    assert document_of(found, "PodDisruptionBudget", "night-shift-worker")["spec"]["maxUnavailable"] == 1


def test_a_worker_may_send_requests_and_receives_none(kubectl: Path, with_worker: Path) -> None:
    found = documents(kubectl, with_worker)
    assert peers(found, "night-shift-worker", "ingress", 3000) == set()
    assert peers(found, "night-shift-worker", "ingress", 9090) == {"namespace/monitoring"}
    assert peers(found, "night-shift-worker", "egress", 3000) == {"directory", "shop"}
    for port in (5432, 6379, 4222):
        assert peers(found, "night-shift-worker", "egress", port) == {"namespace/data"}
    # Those that it calls accept it.
    for called in ("directory", "shop"):
        assert {"night-shift", "night-shift-worker"} <= peers(found, called, "ingress", 3000)


def test_components_apply_to_workers(kubectl: Path, with_worker: Path) -> None:
    found = documents(kubectl, with_worker, "pgbouncer", "scale-on-jobs", "scale-on-requests")
    pod = document_of(found, "Deployment", "night-shift-worker")["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        assert "MIGRATIONS_DATABASE_URL_FILE" in [variable["name"] for variable in container["env"]]
    assert peers(found, "night-shift-worker", "egress", 6432) == {"namespace/data"}
    metrics = {
        name: document_of(found, "HorizontalPodAutoscaler", name)["spec"]["metrics"]
        for name in ("night-shift", "night-shift-worker")
    }
    assert [metric["type"] for metric in metrics["night-shift"]] == ["Resource", "Pods"]
    on_cpu, on_jobs = metrics["night-shift-worker"]
    assert on_cpu["type"] == "Resource"
    folder = with_worker / MANIFESTS / "components/scale-on-jobs"
    (rule,) = yaml.safe_load((folder / "adapter-rules.yaml").read_text())["rules"]["external"]
    assert on_jobs["external"]["metric"] == {
        "name": rule["name"]["matches"],
        "selector": {"matchLabels": {"service": "night-shift"}},
    }


def test_the_connections_of_workers_are_in_the_budget(with_worker: Path) -> None:
    page = (with_worker / "docs/services.md").read_text()
    # 11 pods of directory and shop each, 3 that serve, 6 of the worker: 31 for 92 connections.
    assert "| Kubernetes, production | `night_shift` | 9 | 1 | 2 | 18 |" in page
    # 2 of directory, 3 of shop, 2 that serve, 4 of the worker: 11.
    assert re.search(r"\| compose \| `night_shift` \| 6 \| 1 \| \d+ \|", page)
    change(with_worker, "services/night_shift/pyproject.toml", "max_worker_pods = 5", "max_worker_pods = 50")
    before = tree(with_worker)

    refused = generate(with_worker)

    assert refused.returncode == os.EX_CONFIG
    assert "lower `max_pods`, `max_worker_pods` or `connections`" in refused.stderr
    assert tree(with_worker) == before


def test_a_registry_with_a_worker_is_removed_without_a_trace(workspace: Path) -> None:
    before = tree(workspace)
    register(workspace, "night_shift", NIGHT_SHIFT)
    assert generate(workspace).returncode == 0
    change(workspace, "services/night_shift/pyproject.toml", ', "worker", "broker"]', "]")
    change(workspace, "services/night_shift/pyproject.toml", "worker_replicas = 3\nmax_worker_pods = 5\n", "")
    assert generate(workspace).returncode == 0
    # Files of the worker are removed with it.
    assert not list((workspace / MANIFESTS / "night_shift").rglob("worker*"))

    shutil.rmtree(workspace / "services/night_shift")
    assert generate(workspace).returncode == 0
    assert tree(workspace) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"database", ', "", r"needs: a `worker` keeps jobs and events .*: add `database`"),
        (', "worker"', "", r"worker_replicas: the service has no worker: add `worker`"),
        ("max_worker_pods = 5", "max_worker_pods = 1", r"min_worker_pods: 2 is more than max_wor.* \(1\)"),
        ("max_worker_pods = 5", 'compose_environment = { RUN_WORKER = "true" }', r"RUN_WORKER follows from"),
        ('"worker"', '"workers"', r"Invalid enum value 'workers' - at `\$.needs"),
    ],
)  # fmt: skip
def test_an_impossible_worker_is_refused(workspace: Path, old: str, new: str, message: str) -> None:
    register(workspace, "night_shift", NIGHT_SHIFT.replace(old, new))
    with pytest.raises(RegistryError, match=message):
        read(workspace)


def test_a_service_cannot_have_the_name_of_a_worker(workspace: Path) -> None:
    register(workspace, "night_shift", NIGHT_SHIFT)
    other = NIGHT_SHIFT.replace("3004", "3005").replace("9094", "9095")
    register(workspace, "night_shift_worker", other)
    with pytest.raises(RegistryError, match="'night-shift-worker' is the name of the worker of night_shift"):
        read(workspace)
