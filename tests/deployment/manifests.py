"""Render, validate and read the Kubernetes manifests."""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from accounts.settings import Settings as AccountsSettings
from orders.settings import Settings as OrdersSettings
from starkeel_config import reference

from .conftest import ROOT

KUBERNETES = ROOT / "deploy/kubernetes"
OVERLAYS = ("development", "production")
SETTINGS = {"accounts": AccountsSettings, "orders": OrdersSettings}
SERVICES = tuple(SETTINGS)
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
DOCUMENTS = {"development": 19, "production": 20}
OWN_KINDS = {"ServiceMonitor"}

Document = dict[str, Any]


def kustomize(kubectl: Path, folder: Path) -> str:
    return subprocess.run([kubectl, "kustomize", folder], check=True, capture_output=True, text=True).stdout


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
