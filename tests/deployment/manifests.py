"""Render, validate and read the Kubernetes manifests."""

import re
import subprocess
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from starkeel_config import reference

from tools.registry import ROOT, read

KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = ("development", "production")
REGISTRY = {service.host: service for service in read()}
SERVICES = tuple(REGISTRY)
SETTINGS = {host: import_module(f"{each.name}.settings").Settings for host, each in REGISTRY.items()}
WITH_WORKER = tuple(host for host, service in REGISTRY.items() if service.has_worker)
WORKERS = {REGISTRY[host].worker_host: host for host in WITH_WORKER}
"""Hosts of services by those of their workers."""
PODS = (*SERVICES, *WORKERS)
WITH_DATABASE = tuple(host for host, service in REGISTRY.items() if "database" in service.needs)
# The three newest versions that the validator supports.
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
# Of a service: Deployment, Service, ServiceAccount, HorizontalPodAutoscaler, PodDisruptionBudget,
# NetworkPolicy, ServiceMonitor, ConfigMap. Of a worker: the same without ServiceAccount and ConfigMap. Of the
# namespace: itself, two policies. Production has an Ingress.
_OF_A_SERVICE, _OF_A_WORKER, _OF_THE_NAMESPACE = 8, 6, 3
OWN_KINDS = {"ServiceMonitor"}

Document = dict[str, Any]


def expected_documents(overlay: str, services: int = len(SERVICES), workers: int = len(WORKERS)) -> int:
    of_services = services * _OF_A_SERVICE + workers * _OF_A_WORKER
    return of_services + _OF_THE_NAMESPACE + (overlay == "production")


def validate(path: Path, version: str) -> "subprocess.CompletedProcess[str]":
    command = [*VALIDATOR, "--strict", "--kubernetes-version", version, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def pods_of(documents: Iterable[Document]) -> Iterable[Document]:
    return [
        document["spec"]["template"]["spec"]
        for document in documents
        if document["kind"] in {"Deployment", "Job"}
    ]


def document_of(documents: Iterable[Document], kind: str, name: str) -> Document:
    (found,) = [
        document
        for document in documents
        if document["kind"] == kind and document["metadata"]["name"] == name
    ]
    return found


def egress_ports(documents: Iterable[Document], service: str) -> set[int]:
    policy = document_of(documents, "NetworkPolicy", service)
    return {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}


def settings_of(documents: Iterable[Document], service: str) -> dict[str, str]:
    (found,) = [
        document["data"]
        for document in documents
        if document["kind"] == "ConfigMap" and re.fullmatch(rf"{service}-\w+", document["metadata"]["name"])
    ]
    return dict(found)


def variables_of(settings: Any) -> set[str]:
    return {
        variable.name
        for section in reference(settings, service="any").sections
        for variable in section.variables
    }


def peers(documents: Iterable[Document], name: str, direction: str, port: int) -> set[str]:
    """Return the services, and the namespaces as `namespace/NAME`, that a policy allows at a port."""
    policy = document_of(documents, "NetworkPolicy", name)["spec"]
    key, rules = ("from", policy["ingress"]) if direction == "ingress" else ("to", policy["egress"])
    found = [peer for rule in rules if port in [each["port"] for each in rule["ports"]] for peer in rule[key]]
    return {
        peer["podSelector"]["matchLabels"]["app.kubernetes.io/name"]
        if "podSelector" in peer
        else f"namespace/{peer['namespaceSelector']['matchLabels']['kubernetes.io/metadata.name']}"
        for peer in found
    }


def cluster_variables(overlay: str) -> set[str]:
    """Return the variables that an overlay gives to all services, of which each uses some."""
    text = (KUBERNETES / "overlays" / overlay / "cluster.env").read_text("utf-8")
    return set(re.findall(r"^([A-Z_]+)=", text, re.MULTILINE))
