"""Manifests and images as subjects."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from starkeel_server import ServerSettings

from ..kubectl import install, kustomize
from ..registry import ROOT
from .subject import Subject

DEPLOYMENT = "deployment"
_MARGIN_S = 2
"""Seconds of the process itself, beyond those of its settings."""


def deployment(folder: Path) -> Subject:
    """Return the manifests of production and the compose file.

    Args:
        folder: Folder for kubectl and the rendered manifests.
    """
    manifests = folder / "manifests"
    manifests.mkdir(parents=True, exist_ok=True)
    overlay = ROOT / "deploy/kubernetes/overlays/production"
    (manifests / "kubernetes.yaml").write_text(kustomize(install(folder / "kubectl"), overlay), "utf-8")
    (manifests / "compose.yaml").write_bytes((ROOT / "deploy/compose.yaml").read_bytes())
    return Subject(name=DEPLOYMENT, keys={"stop_s": _stop_s(), "manifests": {"path": str(manifests)}})


def images(given: Sequence[str]) -> list[Subject]:
    """Return images as subjects.

    Args:
        given: Archives or references, each after a name and `=`.

    Raises:
        ValueError: One has no name.
    """
    subjects = []
    for text in given:
        name, separator, reference = text.partition("=")
        if not separator:
            raise ValueError(f"--image {text}: give it a name, as in --image orders={text}")
        subjects.append(Subject(name=f"image {name}", keys={"image": {"reference": reference}}))
    return subjects


def _stop_s() -> float:
    defaults = {field.name: field.default for field in msgspec.structs.fields(ServerSettings)}
    return sum(map(float, (defaults[name] for name in _STOP_SETTINGS))) + _MARGIN_S


_STOP_SETTINGS = ("drain_delay_s", "shutdown_grace_s", "shutdown_flush_s")
