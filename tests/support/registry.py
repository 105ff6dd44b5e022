"""Copies of the registry and of the files that are generated from it."""

import shutil
import subprocess
import sys
from pathlib import Path

from tools.generate.regions import FILES
from tools.registry import ROOT

STACK = Path("deploy/observability")
THIRD = "third_service"
"""Name of a service that this workspace does not have."""
ENTRY = """[tool.starkeel]
port = 3900
admin_port = 9990
paths = ["/api/stock"]
needs = ["database", "tokens"]
scopes = ["stock:read"]

[tool.starkeel.slo]
availability = 99.5
latency_ms = 250
latency_percent = 95
window_days = 28

[[tool.starkeel.panels]]
title = "Stock"
description = "Items that were counted, by shelf."
queries = [{ legend = "{{shelf}}", expr = 'sum by (shelf) (items_counted{service=~"$service"})' }]
"""


def copied(directory: Path) -> Path:
    """Copy the registry, the files with generated parts and the monitoring stack; return the directory."""
    found = [*map(ROOT.joinpath, FILES), *ROOT.glob("services/*/pyproject.toml")]
    for path in found:
        copy = directory / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    shutil.copytree(ROOT / STACK, directory / STACK, dirs_exist_ok=True)
    return directory


def register(workspace: Path, name: str, entry: str) -> Path:
    """Add a service, or replace the entry of one; return its folder."""
    folder = workspace / "services" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n\n{entry}\n')
    return folder


def generate(workspace: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run the generators in a workspace."""
    return subprocess.run(
        [sys.executable, "-m", "tools.generate", *options, "--root", str(workspace)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def contents(workspace: Path) -> dict[str, bytes]:
    """Return all files by their path."""
    found = [path for path in workspace.rglob("*") if path.is_file()]
    return {path.relative_to(workspace).as_posix(): path.read_bytes() for path in found}
