"""Contents of an image: secrets, size, inventory and labels."""

import re
from typing import Final

from .._static.findings import Findings
from .._static.secrets import secret_setting, secrets_in_command
from .model import Image, Layer

_SHOWN: Final = 10
_MIB: Final = 1 << 20
_WASTE_RATIO: Final = 0.05
_WASTE_BYTES: Final = 5 * _MIB
_SECRET_FILES: Final = re.compile(
    r"(?:^|/)(?:\.env(?:\.(?!example$|sample$|template$|dist$)[\w.-]+)?|id_(?:rsa|dsa|ecdsa|ed25519)|\.netrc"
    r"|\.git-credentials|\.pypirc|\.npmrc|\.pgpass|\.aws/credentials|\.docker/config\.json|\.kube/config"
    r"|application_default_credentials\.json|terraform\.tfstate)$"
)
_INVENTORY: Final = re.compile(
    rb'"bomFormat"\s*:\s*"CycloneDX"|"spdxVersion"|SPDXVersion:|https://spdx\.org/rdf|cyclonedx\.org/schema/bom'
)
_INVENTORY_TYPE: Final = re.compile(r"spdx|cyclonedx|syft", re.IGNORECASE)
# Inventories of one component, not of the image: of Python packages (PEP 770) and of other software.
_OF_A_COMPONENT: Final = re.compile(r"\.dist-info/|/node_modules/|^(?:usr/)?lib/")
_LABEL: Final = "org.opencontainers.image."
_LABELS: Final = ("source", "revision", "version")
_PLACEHOLDERS: Final = {"", "unknown", "none", "dirty", "todo"}


def secrets(image: Image, findings: Findings) -> None:
    """Judge variables, labels and the commands of the build."""
    found = [
        f"variable {name}: {kind}"
        for name, value in image.config.environment.items()
        if (kind := secret_setting(name, value)) is not None
    ]
    found += [
        f"label {name}: {kind}"
        for name, value in image.config.labels.items()
        if (kind := secret_setting(name, value)) is not None
    ]
    found += [
        f"history, step {number}: {name}: {kind}"
        for number, step in enumerate(image.config.history, 1)
        for name, kind in secrets_in_command(step)
    ]
    for each in found[:_SHOWN]:
        findings.bad(each)
    if not found:
        findings.good(
            f"no secret in {len(image.config.environment)} variables, {len(image.config.labels)} labels and "
            f"{len(image.config.history)} steps of the build"
        )


def secret_files(image: Image, findings: Findings) -> None:
    """Judge files that hold secrets; one that a later layer removes is still in its own layer."""
    found = [f"/{path}" for path, file in image.tree.walk() if file.size and _SECRET_FILES.search(f"/{path}")]
    found += [
        f"/{path} (removed by a later layer)" for path in image.tree.wasted if _SECRET_FILES.search(path)
    ]
    for each in sorted(found)[:_SHOWN]:
        findings.bad(f"file with secrets: {each}")
    if not found:
        findings.good("no file with the usual name of a file with secrets")


def size(image: Image, findings: Findings, *, limit_mib: int) -> None:
    """Judge the size of all layers, and report it for each."""
    total = image.file_bytes
    findings.judge(
        total <= limit_mib * _MIB,
        f"{_mib(total)} in {len(image.layers)} layers, at most {limit_mib} MiB",
        f"{_mib(total)} in {len(image.layers)} layers, more than {limit_mib} MiB",
    )
    for name, text in layer_report(image).items():
        findings.good(f"{name}: {text}")


def layer_report(image: Image) -> dict[str, str]:
    """Return the size, the number of entries and the command of each layer."""
    return {f"layer {number}": _layer_text(layer) for number, layer in enumerate(image.layers, 1)}


def waste(image: Image, findings: Findings) -> None:
    """Judge the bytes of files that later layers remove or replace."""
    wasted, total = sum(image.tree.wasted.values()), image.file_bytes
    is_small = wasted <= max(_WASTE_BYTES, total * _WASTE_RATIO)
    text = f"{_mib(wasted)} of {_mib(total)} are files that a later layer removes or replaces"
    findings.judge(is_small, text, text)
    if not is_small:
        largest = sorted(image.tree.wasted.items(), key=lambda each: -each[1])
        for path, count in largest[:_SHOWN]:
            findings.bad(f"/{path}: {_mib(count)}")


def inventory(image: Image, findings: Findings) -> None:
    """Judge whether the image has a software bill of materials (SBOM)."""
    found = [
        f"/{path}"
        for path, file in image.tree.walk()
        if file.head and _INVENTORY.search(file.head) and not _OF_A_COMPONENT.search(path)
    ]
    found += [f"attestation {name}" for name in image.attestations if _INVENTORY_TYPE.search(name)]
    for each in sorted(set(found))[:_SHOWN]:
        findings.good(f"SBOM: {each}")
    if not found:
        findings.bad("no SBOM: neither a file in CycloneDX or SPDX nor an attestation stored with the image")


def labels(image: Image, findings: Findings) -> None:
    """Judge the labels that lead from a running container to its source."""
    for name in _LABELS:
        value = image.config.labels.get(_LABEL + name)
        if value is None:
            findings.bad(f"no label {_LABEL}{name}")
        else:
            is_given = value.strip().lower() not in _PLACEHOLDERS
            findings.judge(is_given, f"{_LABEL}{name} is {value!r}", f"{_LABEL}{name} is only {value!r}")


def _layer_text(layer: Layer) -> str:
    stored = f"{_mib(layer.stored_bytes)} compressed, " if layer.is_compressed else ""
    command = " ".join(layer.created_by.split())[:60]
    return f"{stored}{_mib(layer.file_bytes)} in {layer.files} entries: {command}".rstrip(": ")


def _mib(count: int) -> str:
    return f"{count / _MIB:.1f} MiB"
