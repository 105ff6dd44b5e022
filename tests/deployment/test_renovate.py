"""The configuration of Renovate: a manager finds every pinned version of the deployment and the tests."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # has no types

from .conftest import ROOT

CONFIGURATION: dict[str, Any] = json.loads((ROOT / "renovate.json").read_text("utf-8"))
# Any version that is pinned, by the notation of its package manager; wider than the managers' own patterns.
PINS = {
    "pypi": (r"([\w.-]+)==(\d[\w.!+]*)", ("tests", ".github")),
    "npm": (r'"([\w./-]+)@(\d+\.\d+[\w.]*)"', ("tests",)),
    "repology": (r"apt-get install [^&]*?([\w.+-]+)=(\d\S*)", ("deploy",)),
}


@pytest.mark.parametrize("datasource", PINS)
def test_every_pin_is_found(datasource: str) -> None:
    pattern, folders = PINS[datasource]
    pinned = {
        (path, *found)
        for path, text in _tracked(*folders)
        for found in re.findall(pattern, text, re.DOTALL if datasource == "repology" else 0)
    }
    assert pinned
    assert pinned <= _found(datasource)


def test_every_image_has_a_version() -> None:
    images = [
        service["image"]
        for service in yaml.safe_load((ROOT / "deploy/compose.yaml").read_text("utf-8"))["services"].values()
        if not service["image"].startswith("${")
    ]
    assert images
    assert [image for image in images if not re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", image)] == []


def test_the_managers_of_every_kind_of_file_are_enabled() -> None:
    assert set(CONFIGURATION["enabledManagers"]) == {
        "github-actions", "pep621", "dockerfile", "docker-compose", "custom.regex",
    }  # fmt: skip


def _found(datasource: str) -> set[tuple[str, str, str]]:
    """Return path, name and version of what the managers of a datasource match."""
    found = set()
    for manager in CONFIGURATION["customManagers"]:
        if manager["datasourceTemplate"] != datasource:
            continue
        files = [re.compile(pattern.strip("/")) for pattern in manager["managerFilePatterns"]]
        for path, text in _tracked("."):
            if any(pattern.search(path) for pattern in files):
                for pattern in manager["matchStrings"]:
                    # Named groups of JavaScript.
                    for match in re.finditer(pattern.replace("(?<", "(?P<"), text):
                        groups = match.groupdict()
                        name = groups.get("packageName") or groups["depName"]
                        found.add((path, name, groups["currentValue"]))
    return found


def _tracked(*folders: str) -> list[tuple[str, str]]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *folders], cwd=ROOT, check=True, capture_output=True, text=True
    )
    paths = [
        path
        for path in listed.stdout.split("\0")
        if path and Path(path).suffix in {".py", ".yml", ".yaml", ""}
    ]
    return [(path, (ROOT / path).read_text("utf-8")) for path in paths]
