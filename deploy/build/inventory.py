"""Write the inventory of an image: `inventory.py SBOM TARGET CREATED BASE SITE_PACKAGES...`.

`sbom.cdx.json` is the lock's CycloneDX document, reduced to installed distributions, with licences and the
packages of the base image; `licenses.txt` has one line per component.
"""

import json
import re
import sys
import uuid
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

_CLASSIFIER = "License :: OSI Approved :: "
# SPDX identifiers of the classifiers that stand for exactly one licence.
_IDENTIFIERS = {
    "MIT License": "MIT",
    "Apache Software License": "Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "ISC License (ISCL)": "ISC",
    "Python Software Foundation License": "PSF-2.0",
}
_EXPRESSION = re.compile(r"[A-Za-z0-9.+-]*[A-Za-z][A-Za-z0-9.+-]*( (AND|OR|WITH) [A-Za-z0-9.+-]+)*")

Component = dict[str, Any]


def main(sbom: Path, target: Path, created: str, base: Path, site_packages: Iterable[str]) -> None:
    """Write both files to the target directory."""
    installed = {
        _canonical(found.metadata["Name"]): found for found in distributions(path=list(site_packages))
    }
    document = json.loads(sbom.read_text("utf-8"))
    _reduce(document, installed)
    for component in document["components"]:
        component["licenses"] = [license_of(installed[_canonical(component["name"])])]
    packages = list(debian_packages(base))
    document["components"] += packages
    document["metadata"]["timestamp"] = created
    # Derived from the content, so that a build can be reproduced.
    content = json.dumps(document, sort_keys=True)
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}"
    target.mkdir(parents=True, exist_ok=True)
    target.joinpath("sbom.cdx.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    lines = [
        f"{name} {found.version}: {_text([license_of(found)])}\n" for name, found in sorted(installed.items())
    ]
    lines += [
        f"debian/{found['name']} {found['version']}: {_text(found['licenses'])}\n" for found in packages
    ]
    target.joinpath("licenses.txt").write_text("".join(lines), encoding="utf-8")


def license_of(distribution: Distribution) -> dict[str, Any]:
    """Return a distribution's licence as CycloneDX has it: an SPDX expression, or a name."""
    metadata = distribution.metadata
    stated = (metadata["License-Expression"] or metadata["License"] or "").strip()
    if _EXPRESSION.fullmatch(stated):
        return {"expression": stated}
    classified = [
        text.removeprefix(_CLASSIFIER)
        for text in metadata.get_all("Classifier") or []
        if text.startswith(_CLASSIFIER)
    ]
    if classified and all(text in _IDENTIFIERS for text in classified):
        # Several classifiers are a choice: a distribution under several licences at once has an expression.
        return {"expression": " OR ".join(sorted(_IDENTIFIERS[text] for text in classified))}
    # Some distributions put the whole licence text into this field.
    return {"license": {"name": stated if stated and "\n" not in stated else "see its METADATA"}}


def debian_packages(base: Path) -> Iterator[Component]:
    """Return the packages that a distroless image records in `status.d`, by name."""
    release = dict(
        re.findall(r'^(\w+)="?([^"\n]*)', base.joinpath("etc/os-release").read_text("utf-8"), re.MULTILINE)
    )
    distribution = f"{release['ID']}-{release['VERSION_ID']}"
    for path in sorted(base.glob("var/lib/dpkg/status.d/*")):
        if path.suffix == ".md5sums":
            continue
        fields = dict(re.findall(r"^([\w-]+): (.*)", path.read_text("utf-8"), re.MULTILINE))
        name, version = fields["Package"], fields["Version"]
        reference = f"pkg:deb/debian/{name}@{version}?arch={fields['Architecture']}&distro={distribution}"
        yield {
            "type": "library",
            "bom-ref": reference,
            "name": name,
            "version": version,
            "purl": reference,
            "licenses": [{"license": {"name": text}} for text in _debian_licenses(base, name)],
        }


def _debian_licenses(base: Path, package: str) -> list[str]:
    """Return the names in a package's copyright file (DEP 5), or its path if it has another format."""
    path = base / f"usr/share/doc/{package}/copyright"
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    return sorted(set(re.findall(r"^License: *(\S.*)", text, re.MULTILINE))) or [
        f"see /usr/share/doc/{package}"
    ]


def _text(licenses: Iterable[dict[str, Any]]) -> str:
    return ", ".join(found.get("expression") or found["license"]["name"] for found in licenses)


def _reduce(document: dict[str, Any], installed: dict[str, Distribution]) -> None:
    """Remove components for other platforms and the workspace itself."""
    components = [found for found in document["components"] if _canonical(found["name"]) in installed]
    known = {found["bom-ref"] for found in components} | {document["metadata"]["component"]["bom-ref"]}
    for dependency in document["dependencies"]:
        dependency["dependsOn"] = [ref for ref in dependency.get("dependsOn", []) if ref in known]
    document["components"] = components
    document["dependencies"] = [found for found in document["dependencies"] if found["ref"] in known]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), sys.argv[5:])
