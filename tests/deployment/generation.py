"""Generation in a copy of the workspace, with another registry."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.generate.regions import FILES
from tools.registry import ROOT, read

MANIFESTS = Path("deploy/kubernetes")
# Not the services of this workspace, which come and go.
DIRECTORY = """[tool.starkeel]
port = 3000
admin_port = 9090
paths = ["/api/people", "/.well-known"]
needs = ["database", "redis", "signing key"]
"""
SHOP = """[tool.starkeel]
port = 3001
admin_port = 9091
paths = ["/api/sales"]
needs = ["database", "redis", "tokens"]
calls = ["directory"]
replicas = 2
compose_environment = { GREETING = "${GREETING:-}" }
"""
INVENTORY = """[tool.starkeel]
port = 3002
admin_port = 9092
paths = ["/api/stock"]
needs = ["database", "tokens"]
calls = ["shop"]
"""


def make_workspace(folder: Path) -> None:
    """Copy the files that generation reads and writes, and generate them for two other services."""
    for name in FILES:
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy)
    own = [service.name for service in read()]
    shutil.copytree(
        ROOT / MANIFESTS,
        folder / MANIFESTS,
        ignore=lambda path, _: own if path.endswith("kubernetes") else [],
    )
    project = folder / "pyproject.toml"
    limits = "[tool.starkeel.database]\nmax_connections = 100\nreserved_connections = 8\n"
    text, count = re.subn(r"\[tool\.starkeel\.database\]\n(\w+ = .*\n)*", limits, project.read_text())
    project.write_text(text if count else f"{text}\n{limits}")
    for cluster in folder.glob("deploy/kubernetes/overlays/*/cluster.env"):
        cluster.write_text(
            re.sub(r"^(DB_MAX|DB_MIN|WORKERS).*\n", "", cluster.read_text(), flags=re.MULTILINE)
        )
    register(folder, "directory", DIRECTORY)
    register(folder, "shop", SHOP)
    done = generate(folder)
    assert done.returncode == 0, done.stderr


def register(workspace: Path, name: str, entry: str) -> None:
    """Add a service, or replace its entry."""
    file = workspace / "services" / name / "pyproject.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'[project]\nname = "{name}"\n\n{entry}\n')


def change(workspace: Path, file: str, old: str, new: str) -> None:
    path = workspace / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def generate(workspace: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.generate", "fleet", "--root", str(workspace), *options],
        cwd=ROOT, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


def tree(workspace: Path) -> dict[str, str]:
    """Return the texts of all files outside of `services`, and the names of all folders."""
    found = [path for path in workspace.rglob("*") if "services" not in path.relative_to(workspace).parts]
    return {
        path.relative_to(workspace).as_posix(): path.read_text() if path.is_file() else "" for path in found
    }
