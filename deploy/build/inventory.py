"""Write the inventory of an image: `inventory.py SBOM TARGET SITE_PACKAGES...`.

`sbom.cdx.json` is the lock's CycloneDX document, reduced to installed distributions, with licences added;
`licenses.txt` has one line per distribution.
"""

import json
import re
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

_CLASSIFIER = "License :: OSI Approved :: "


def main(sbom: Path, target: Path, site_packages: Iterable[str]) -> None:
    """Write both files to the target directory."""
    installed = {
        _canonical(found.metadata["Name"]): found for found in distributions(path=list(site_packages))
    }
    document = json.loads(sbom.read_text("utf-8"))
    _reduce(document, installed)
    for component in document["components"]:
        text = _license(installed[_canonical(component["name"])])
        component["licenses"] = [{"license": {"name": text}}]
    target.mkdir(parents=True, exist_ok=True)
    target.joinpath("sbom.cdx.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    lines = [f"{name} {found.version}: {_license(found)}\n" for name, found in sorted(installed.items())]
    target.joinpath("licenses.txt").write_text("".join(lines), encoding="utf-8")


def _reduce(document: dict[str, Any], installed: dict[str, Distribution]) -> None:
    """Remove components for other platforms, the workspace itself, and varying metadata."""
    components = [found for found in document["components"] if _canonical(found["name"]) in installed]
    known = {found["bom-ref"] for found in components} | {document["metadata"]["component"]["bom-ref"]}
    for dependency in document["dependencies"]:
        dependency["dependsOn"] = [ref for ref in dependency.get("dependsOn", []) if ref in known]
    document["components"] = components
    document["dependencies"] = [found for found in document["dependencies"] if found["ref"] in known]
    document["metadata"].pop("timestamp", None)
    document.pop("serialNumber", None)


def _license(distribution: Distribution) -> str:
    metadata = distribution.metadata
    expression = metadata["License-Expression"]
    if expression:
        return expression
    classified = [
        text.removeprefix(_CLASSIFIER)
        for text in metadata.get_all("Classifier") or []
        if text.startswith(_CLASSIFIER)
    ]
    stated = (metadata["License"] or "").strip()
    # Some distributions put the whole licence text into this field.
    return " AND ".join(classified) or (stated if stated and "\n" not in stated else "see its METADATA")


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
