"""Layers that a change rebuilds, according to BuildKit's log and the digests of the layers."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from .conftest import ROOT, SERVICES
from .docker import Docker

NEEDED_SERVICES = ("accounts", "orders")


class Tree:
    """A copy of the workspace that a test changes and builds."""

    def __init__(self, docker: Docker, folder: Path) -> None:
        self._docker = docker
        self.folder = folder
        self.last: dict[str, list[str]] = {}

    def build(self, service: str) -> tuple[set[str], list[str]]:
        """Build a service; return the stages that ran and the layers of the image."""
        tag = f"starkeel-test/{service}:isolation"
        arguments = {"SERVICE": service}
        log = self._docker.build(
            self.folder, tag, "--file", self.folder / "deploy/Dockerfile", arguments=arguments
        )
        return _ran(log), self._docker.inspect(tag)["RootFS"]["Layers"]

    def edit(self, path: str) -> None:
        """Change a file to a unique content, which no earlier build has cached."""
        with (self.folder / path).open("a") as file:
            file.write(f"\n# {uuid4()}\n")

    def require(self, service: str, library: str, marker: str) -> None:
        """Add a locked library to the dependencies of a service, as `uv add` does but offline."""
        project, lock = self.folder / f"services/{service}/pyproject.toml", self.folder / "uv.lock"
        _insert(project, r"dependencies = \[", f'    "{library}; {marker}",')
        entry = f'    {{ name = "{library}", marker = "{marker}" }},'
        package = rf'name = "{service}"\n(?:(?!\[\[package).*\n)*?'
        _insert(lock, rf"{package}dependencies = \[", entry)
        _insert(lock, rf"{package}requires-dist = \[", entry)
        command = ["uv", "lock", "--check", "--offline", "--quiet"]
        subprocess.run(command, cwd=self.folder, check=True)


@pytest.fixture
def tree(docker: Docker, images: Mapping[str, str], tmp_path: Path) -> Tree:
    """A copy of the workspace with all images built."""
    for name in ("pyproject.toml", "uv.lock", "LICENSE"):
        shutil.copy2(ROOT / name, tmp_path / name)
    for name in ("packages", "services", "deploy"):
        ignored = shutil.ignore_patterns("__pycache__", "tests", ".data", "secrets")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    copied = Tree(docker, tmp_path)
    for service in SERVICES:
        copied.build(service)
    return copied


def test_an_unchanged_service_rebuilds_nothing(tree: Tree) -> None:
    before = {service: tree.build(service)[1] for service in SERVICES}
    tree.edit("services/orders/src/orders/orders.py")
    ran, layers = tree.build("accounts")
    assert ran <= {"plan"}
    assert layers == before["accounts"]


def test_a_change_of_a_service_rebuilds_one_layer_of_its_image(tree: Tree) -> None:
    before = tree.build("orders")[1]
    tree.edit("services/orders/src/orders/orders.py")
    ran, layers = tree.build("orders")
    assert ran == {"plan", "members", "inventory", "runtime"}
    assert sum(a != b for a, b in zip(before, layers, strict=True)) == 1


def test_a_change_of_a_package_rebuilds_no_third_party_layer(tree: Tree) -> None:
    before = {service: tree.build(service)[1] for service in SERVICES}
    tree.edit("packages/config/src/starkeel_config/__init__.py")
    for service in SERVICES:
        ran, layers = tree.build(service)
        assert ran == {"plan", "members", "inventory", "runtime"}
        assert sum(a != b for a, b in zip(before[service], layers, strict=True)) == 1


def test_a_new_dependency_rebuilds_only_its_service(tree: Tree) -> None:
    before = {service: tree.build(service)[1] for service in SERVICES}
    tree.require("orders", "psutil", f"platform_release != '{uuid4()}'")
    ran, layers = tree.build("accounts")
    assert ran <= {"plan"}
    assert layers == before["accounts"]
    ran, layers = tree.build("orders")
    assert {"plan", "dependencies", "members", "inventory", "runtime"} == ran
    assert layers != before["orders"]


def _insert(file: Path, line: str, new: str) -> None:
    """Insert a line after the only line that matches a pattern."""
    text, times = re.subn(
        rf"^({line}\n)", lambda found: f"{found[1]}{new}\n", file.read_text(), flags=re.MULTILINE
    )
    assert times == 1, (file, line)
    file.write_text(text)


def _ran(log: str) -> set[str]:
    """Return the stages with steps that were not cached."""
    steps = dict(re.findall(r"^#(\d+) \[(\w+) \d+/\d+\] (?:RUN|COPY)", log, re.MULTILINE))
    cached = set(re.findall(r"^#(\d+) CACHED", log, re.MULTILINE))
    assert steps, log
    return {stage for number, stage in steps.items() if number not in cached}
